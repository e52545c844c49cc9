//! The contract, for the pool of worker processes.

taskloom::test_support!();
taskloom_tests::conformance!(taskloom_tests::harness::Procs);
