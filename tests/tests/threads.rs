//! The contract, for the pool of threads.

taskloom_tests::conformance!(taskloom_tests::harness::Threads);
