use taskloom_core::task;

#[task]
unsafe fn raw(at: usize) -> usize {
    at
}

#[task]
extern "C" fn foreign(at: usize) -> usize {
    at
}

#[task]
fn borrowed<'a>(text: std::borrow::Cow<'a, str>) -> usize {
    text.len()
}

#[task]
fn elided(text: std::borrow::Cow<'_, str>) -> usize {
    text.len()
}

#[task]
fn some(items: impl Iterator<Item = u32>) -> u32 {
    items.sum()
}

#[task]
fn opaque(n: u32) -> impl Iterator<Item = u32> {
    0..n
}

#[task]
fn endless(n: u32) -> ! {
    panic!("{n}")
}

#[task]
fn shared(items: std::rc::Rc<u32>) -> u32 {
    *items
}

#[task]
fn pointed(at: *const u32) -> bool {
    at.is_null()
}

#[task]
fn text(n: u32) -> &'static str {
    if n == 0 { "none" } else { "some" }
}

#[task]
fn late(n: u32, cx: &taskloom_core::Context) -> u32 {
    n + cx.attempt()
}

#[task]
fn changed(cx: &mut taskloom_core::Context) {
    let _ = cx;
}

#[task(state)]
fn any<T: Default + 'static>() -> T {
    T::default()
}

#[task]
fn sometimes(n: u32, #[cfg(unix)] m: u32) -> u32 {
    n + m
}

#[task]
struct Data {
    n: u32,
}

fn main() {
    let _ = (unsafe { raw(1) }, foreign(1), opaque(1), text(1));
    let _ = (raw::task(1), foreign::task(1), some::task(0..3), late::task(1), changed::task(), Data { n: 1 }.n);
}
