use taskloom_core::{inline, task};

struct Query(String);

#[task]
fn ask(server: String, query: Query, tries: u32) -> usize {
    server.len() + query.0.len() + tries as usize
}

fn main() {
    let pool = inline::pool().build().unwrap();
    let n: usize = pool.submit(ask::task(String::new(), Query(String::new()), 1)).unwrap().join().unwrap();
    println!("{n}");
}
