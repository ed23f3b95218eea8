//! Similar cases as separate tests, so that a failure names its case and hides no other.

/// Makes a test of each case, `test::case`, which calls the function `test` with its arguments.
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

/// Makes a test of each way in which a server can fail to send a message for ever. The test gets
/// the fault of the message with this number.
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
