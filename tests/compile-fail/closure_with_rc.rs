use std::rc::Rc;

use taskloom_core::inline;

fn main() {
    let pool = inline::pool().build().unwrap();
    let shared = Rc::new(1);
    let _ = pool.submit(move || *shared + 1);
}
