//! A program that depends on the facade alone: nothing of what tasks become mentions core.
#![deny(warnings)]

use taskloom::{Context, inline, register, task};

#[task]
fn add(cx: &Context, a: u64, b: u64) -> Result<u64, String> {
    if cx.is_cancelled() { Err("cancelled".to_owned()) } else { Ok(a + b) }
}

#[task]
fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}
register!(sorted<u8>);

mod renamed {
    pub(crate) use taskloom as loom;

    #[taskloom::task(crate = "crate::renamed::loom")]
    pub(crate) fn double(n: u64) -> u64 {
        n * 2
    }
    taskloom::register!(crate = "crate::renamed::loom", super::sorted<u16>);
}

#[taskloom::main]
fn main() -> Result<(), taskloom::TaskError> {
    let pool = inline::pool().build()?;
    assert_eq!(pool.submit(add::task(1, 2))?.join()?, 3);
    assert_eq!(pool.submit(sorted::task(vec![2_u8, 1]))?.join()?, [1, 2]);
    assert_eq!(pool.submit(renamed::double::task(2))?.join()?, 4);
    Ok(())
}
