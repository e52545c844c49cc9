use taskloom_core::inline;

fn main() {
    let pool = inline::pool().build().unwrap();
    let text = String::from("a b");
    let _ = pool.submit(|| text.len());
    println!("{text}");
}
