//! The examples are in the files beside this folder's manifest.
