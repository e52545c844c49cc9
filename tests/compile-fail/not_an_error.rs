use taskloom_core::{inline, task};

struct Broken;

#[task]
fn ask(server: String) -> Result<usize, Broken> {
    Err(if server.is_empty() { Broken } else { Broken })
}

fn main() {
    let pool = inline::pool().build().unwrap();
    let n: usize = pool.submit(ask::task(String::new())).unwrap().join().unwrap();
    println!("{n}");
}
