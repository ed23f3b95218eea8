//! The tests that drive the program as a user does.

mod floors;
