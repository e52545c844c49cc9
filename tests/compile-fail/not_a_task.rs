use taskloom_core::{inline, task};

#[task]
fn count(text: String) -> usize {
    text.len()
}

fn main() {
    let pool = inline::pool().build().unwrap();
    let _ = pool.submit(count("forgotten `::task`".to_owned()));
    let _ = pool.map(["forgotten `::task`".to_owned()].into_iter().map(count));
}
