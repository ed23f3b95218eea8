//! Mistakes in the table `oauth`.

use insta::assert_snapshot;

use super::lines;

#[test]
fn oauth() {
    assert_snapshot!(lines(&[
        "oauth = true",
        "oauth = \"gogle\"",
        "oauth = { provider = \"microsoft\", clientid = \"x\" }",
        "oauth = { provider = \"google\", tenant = \"x\" }",
        "oauth = { provider = \"microsoft\", tenant = \"a/b\" }",
        "oauth = { provider = \"google\", issuer = \"https://id.example.org\" }",
        "oauth = { provider = \"google\", client-id = \"x\", client-file = \"~/x\" }",
        "oauth = { issuer = \"http://id.example.org\" }",
        "oauth = { token-endpoint = \"https://id.example.org/token\" }",
        "oauth = { provider = \"google\", redirect = \"https://example.org\" }",
        "oauth = { provider = \"google\", client-secret = 5 }",
        "oauth = { provider = \"google\", client-secret = \"s3cret\", clientid = 5 }",
        "oauth = \"google\"\npassword-file = \"~/x\"",
        "oauth = \"google\"\nauth = \"plain\"",
        "password-file = \"~/x\"\nauth = \"xoauth2\"",
    ]), @r#"
    ~/.config/pouch/config.toml:5:9: `oauth` must be a provider, like "microsoft", or a table, like { provider = "google", client-file = "~/google.json" }, not true
      5 | oauth = true
        |         ^^^^
    hint: the providers are microsoft, google, fastmail, yahoo, aol and comcast; for another one, write a table with `issuer`

    ~/.config/pouch/config.toml:5:9: `oauth` must be a provider, like "microsoft", or a table, like { provider = "google", client-file = "~/google.json" }, not "gogle"
      5 | oauth = "gogle"
        |         ^^^^^^^
    hint: did you mean "google"?

    ~/.config/pouch/config.toml:5:9: `oauth` must be a provider, like "microsoft", or a table, like { provider = "google", client-file = "~/google.json" }, not a table with the unknown key `clientid`
      5 | oauth = { provider = "microsoft", clientid = "x" }
        |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: did you mean `client-id`?

    ~/.config/pouch/config.toml:5:9: `oauth` must be a provider, like "microsoft", or a table, like { provider = "google", client-file = "~/google.json" }, not a table with `tenant` for another provider than Microsoft
      5 | oauth = { provider = "google", tenant = "x" }
        |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: remove `tenant`

    ~/.config/pouch/config.toml:5:9: `oauth` must be a provider, like "microsoft", or a table, like { provider = "google", client-file = "~/google.json" }, not a table in which `tenant` is "a/b"
      5 | oauth = { provider = "microsoft", tenant = "a/b" }
        |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    ~/.config/pouch/config.toml:5:9: `oauth` must be a provider, like "microsoft", or a table, like { provider = "google", client-file = "~/google.json" }, not a table with both `provider` and `issuer`
      5 | oauth = { provider = "google", issuer = "https://id.example.org" }
        |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: remove one of them

    ~/.config/pouch/config.toml:5:9: `oauth` must be a provider, like "microsoft", or a table, like { provider = "google", client-file = "~/google.json" }, not a table with both `client-file` and `client-id` or `client-secret`
      5 | oauth = { provider = "google", client-id = "x", client-file = "~/x" }
        |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: remove one of them

    ~/.config/pouch/config.toml:5:9: `oauth` must be a provider, like "microsoft", or a table, like { provider = "google", client-file = "~/google.json" }, not a table in which `issuer` is "http://id.example.org"
      5 | oauth = { issuer = "http://id.example.org" }
        |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: tokens are only sent over https

    ~/.config/pouch/config.toml:5:9: `oauth` must be a provider, like "microsoft", or a table, like { provider = "google", client-file = "~/google.json" }, not a table without `scope`
      5 | oauth = { token-endpoint = …
        |         ^^^^^^^^^^^^^^^^^^^^
    hint: add the scope that the provider documents for POP3

    ~/.config/pouch/config.toml:5:9: `oauth` must be a provider, like "microsoft", or a table, like { provider = "google", client-file = "~/google.json" }, not a table in which `redirect` is "https://example.org"
      5 | oauth = { provider = "google", redirect = "https://example.org" }
        |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: write the redirect URI that is registered, such as "http://localhost"

    ~/.config/pouch/config.toml:5:9: `oauth` must be a provider, like "microsoft", or a table, like { provider = "google", client-file = "~/google.json" }, not a table in which `client-secret` is not a string
      5 | oauth = { provider = "google", client-secret = …
        |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    ~/.config/pouch/config.toml:5:9: `oauth` must be a provider, like "microsoft", or a table, like { provider = "google", client-file = "~/google.json" }, not a table with the unknown key `clientid`
      5 | oauth = { provider = "google", client-secret = …
        |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: did you mean `client-id`?

    ~/.config/pouch/config.toml:6:1: `password-file` and `oauth` cannot be used together
      5 | oauth = "google"
        | ----- already set here
      6 | password-file = "~/x"
        | ^^^^^^^^^^^^^
    hint: remove one of them

    ~/.config/pouch/config.toml:6:1: `auth = "plain"` needs a password
      5 | oauth = "google"
        | ----- a token
      6 | auth = "plain"
        | ^^^^
    hint: remove `auth`, or use `password-command` instead

    ~/.config/pouch/config.toml:6:1: `auth = "xoauth2"` needs a token
      5 | password-file = "~/x"
        | ------------- a password
      6 | auth = "xoauth2"
        | ^^^^
    hint: use `oauth` or `token-command` instead of `password-file`
    "#);
}
