use taskloom_core::{inline, task};

struct Answer(usize);

#[task]
fn ask(server: String) -> Answer {
    Answer(server.len())
}

#[task]
fn try_ask(server: String) -> Result<Answer, String> {
    Ok(Answer(server.len()))
}

fn main() {
    let pool = inline::pool().build().unwrap();
    let n: Answer = pool.submit(ask::task(String::new())).unwrap().join().unwrap();
    let m: Answer = pool.submit(try_ask::task(String::new())).unwrap().join().unwrap();
    println!("{} {}", n.0, m.0);
}
