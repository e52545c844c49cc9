use taskloom_core::{inline, task};

#[task(retry = 3)]
fn count(text: String) -> usize {
    text.len()
}

#[task(codec = "json")]
fn lines(text: String) -> usize {
    text.len()
}

fn main() {
    let pool = inline::pool().build().unwrap();
    let n: usize = pool.submit(count::task(String::new())).unwrap().join().unwrap();
    let m: usize = pool.submit(lines::task(String::new())).unwrap().join().unwrap();
    println!("{n} {m}");
}
