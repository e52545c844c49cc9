//! A program that forbids and denies whatever it can: tasks raise nothing that their functions do not.
#![forbid(unsafe_code, dead_code)]
#![deny(warnings, unused, missing_docs, missing_debug_implementations, unreachable_pub, rust_2018_idioms)]
#![deny(
    unused_qualifications,
    unused_results,
    unnameable_types,
    unit_bindings,
    single_use_lifetimes,
    let_underscore_drop
)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery)]

use std::sync::{Arc, atomic::AtomicU32};

use taskloom_core::{Context, register, task};

/// Plain.
#[task]
pub fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[task(version = 3)]
fn nothing(cx: &Context) {
    println!("{}", cx.attempt());
}

#[task]
fn own_name(own_name: String) -> anyhow::Result<u64> {
    Ok(own_name.parse()?)
}

#[task(name = "raw")]
fn r#type((a, _b): (u64, u8), _unused: u32, _: Vec<u8>) -> u64 {
    a
}

#[task]
fn generic<T: Ord, U>(mut items: Vec<T>) -> Vec<T> {
    println!("{}", size_of::<U>());
    items.sort();
    items
}
register!(generic<u8, String>);

#[task]
fn array<const N: usize>(items: Vec<u8>) -> usize {
    items.len() + N
}

/// Never submitted, nor registered: that alone is no dead code.
#[task]
fn only_called<T>(items: Vec<T>) -> usize {
    items.len()
}

#[task(local)]
fn local(count: Arc<AtomicU32>) -> Arc<AtomicU32> {
    count
}

#[task(state)]
fn state(path: String) -> std::cell::RefCell<String> {
    path.into()
}

mod inner {
    #[taskloom_core::task]
    pub(super) fn seen_above(n: u64) -> u64 {
        n
    }
    #[taskloom_core::task]
    pub(in crate::inner) fn seen_here(n: u64) -> u64 {
        n
    }
}

#[deprecated]
#[task]
fn old(n: u64) -> u64 {
    n
}

#[task]
#[expect(clippy::too_many_arguments, clippy::many_single_char_names)]
fn many(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64) -> u64 {
    a + b + c + d + e + f + g + h
}

#[task]
#[cfg(not(unix))]
fn elsewhere(n: NoSuchType) {}

fn main() {
    #[task]
    fn inside(n: u64) -> u64 {
        n
    }
    let _inside = inside::task(inner::seen_above(1));
    println!("{} {:?}", only_called(vec![1_u8]), array::<3>(Vec::new()));
    println!("{:?}", generic::<u8, u16>(Vec::new()));
}
