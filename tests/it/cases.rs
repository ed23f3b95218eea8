//! Runs similar cases as separate tests, so that a failure names its case and does not hide others.

/// Declares a test for each case, `test::case`, which calls the function `test` with its arguments.
macro_rules! cases {
    ($test:ident: $($case:ident($($argument:expr),+)),+ $(,)?) => {
        mod $test {
            #[allow(unused_imports, reason = "literals need none")]
            use super::*;

            $(
                #[test]
                fn $case() {
                    super::$test($($argument),+);
                }
            )+
        }
    };
}

/// Declares a test for each way in which a server can permanently fail to send a message. The
/// function gets the fault of the message with this number.
macro_rules! each_fault {
    ($test:ident, $n:expr) => {
        cases! { $test:
            refused($crate::one_bad_message::retr($n).refuse("-ERR cannot open it")),
            refused_without_a_reason($crate::one_bad_message::retr($n).refuse("-ERR")),
            cut_before_the_response($crate::one_bad_message::retr($n).cut()),
            cut_after_the_response($crate::one_bad_message::retr($n).head().cut()),
            cut_inside($crate::one_bad_message::retr($n).octets(100).cut()),
            silent_before_the_response($crate::one_bad_message::retr($n).silence()),
            silent_inside($crate::one_bad_message::retr($n).octets(100).silence()),
            empty($crate::one_bad_message::retr($n).empty()),
        }
    };
}
