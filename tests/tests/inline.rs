//! The contract, for the inline backend.

taskloom_tests::conformance!(taskloom_tests::harness::Inline);
