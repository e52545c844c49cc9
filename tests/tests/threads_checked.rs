//! The contract, for the pool of threads in checked mode.

taskloom_tests::conformance!(taskloom_tests::harness::CheckedThreads);
