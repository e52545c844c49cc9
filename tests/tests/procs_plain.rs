//! The contract, for the pool of worker processes without shared memory.

taskloom::test_support!();
taskloom_tests::conformance!(taskloom_tests::harness::PlainProcs);
