//! The contract, for the inline backend in checked mode.

taskloom_tests::conformance!(taskloom_tests::harness::CheckedInline);
