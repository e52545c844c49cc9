use taskloom_core::inline;

fn main() {
    let pool = inline::pool().build().unwrap();
    let _ = pool.submit(|cx| cx.attempt());
}
