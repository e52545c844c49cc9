use taskloom_core::{inline, register, task};

struct Opaque;

#[task]
fn first<T>(items: Vec<T>) -> Option<T> {
    items.into_iter().next()
}

register!(first<Opaque>);
register!(first);
register!();

fn main() {
    let pool = inline::pool().build().unwrap();
    let _ = pool.submit(first::task(vec![Opaque]));
}
