//! What the compiler says about wrong tasks, and that it says nothing about odd ones.
//!
//! `TRYBUILD=overwrite cargo test -p taskloom-tests --test macros` writes the expectations anew;
//! read them before they are committed: each wrong use is one error, at the word that is wrong.

#[test]
fn wrong_tasks_are_refused_in_our_words() {
    trybuild::TestCases::new().compile_fail("compile-fail/*.rs");
}

#[test]
fn odd_tasks_compile_without_a_warning() {
    trybuild::TestCases::new().pass("compile-pass/*.rs");
}
