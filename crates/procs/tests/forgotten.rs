//! A program that does not say where workers enter starts none.

use taskloom_core::TaskError;

#[test]
fn build_says_what_to_write() {
    let Err(TaskError::Start(error)) = taskloom_procs::pool().workers(4).build() else { panic!() };
    assert!(error.message.contains("taskloom::init()"), "{}", error.message);
    assert!(error.message.contains("test_support!"), "{}", error.message);
}
