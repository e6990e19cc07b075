//! Who we are to S3, as the environment says it: whole, or not at all. Where something is missing, `object_store` asks the
//! machine's metadata service, over its network.

use std::net::IpAddr;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use reqwest::Url;

use super::place::is_at;

/// Where containers get credentials over plain HTTP, beside their own machine: ECS, and EKS.
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// Refuses what would not be enough, in the order in which it is looked for.
pub(super) fn require(builder: &AmazonS3Builder) -> Result<(), &'static str> {
    let value = |key| builder.get_config_value(&key);
    let pair = |one, other| [value(one), value(other)];
    let is_said = |pair: &[Option<String>; 2]| pair.iter().any(Option::is_some);
    let is_whole = |pair: &[Option<String>; 2]| pair.iter().flatten().filter(|value| !value.is_empty()).count() == 2;

    let keys = pair(AmazonS3ConfigKey::AccessKeyId, AmazonS3ConfigKey::SecretAccessKey);
    if is_said(&keys) {
        let missing = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together: one of them is missing or empty";
        return is_whole(&keys).then_some(()).ok_or(missing);
    }
    let web = pair(AmazonS3ConfigKey::WebIdentityTokenFile, AmazonS3ConfigKey::RoleArn);
    if web[0].is_some() {
        let missing = "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN belong together: one of them is missing or empty";
        return is_whole(&web).then_some(()).ok_or(missing);
    }
    if let Some(path) = value(AmazonS3ConfigKey::ContainerCredentialsRelativeUri) {
        let wrong = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI begins with a slash";
        return path.starts_with('/').then_some(()).ok_or(wrong);
    }
    let container =
        pair(AmazonS3ConfigKey::ContainerCredentialsFullUri, AmazonS3ConfigKey::ContainerAuthorizationTokenFile);
    let Some(uri) = &container[0] else {
        return Err("the environment has no credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)");
    };
    if !is_whole(&container) {
        return Err("AWS_CONTAINER_CREDENTIALS_FULL_URI and AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE belong together: \
                    one of them is missing or empty");
    }
    let wrong = "AWS_CONTAINER_CREDENTIALS_FULL_URI is https://, or http:// on this machine";
    is_safe(uri).then_some(()).ok_or(wrong)
}

/// Whether credentials may be asked for there.
fn is_safe(uri: &str) -> bool {
    let Ok(url) = Url::parse(uri) else { return false };
    let is_container_host = |address: &IpAddr| CONTAINER_HOSTS.contains(&address.to_string().as_str());
    url.scheme() == "https"
        || (url.scheme() == "http" && is_at(&url, |address| address.is_loopback() || is_container_host(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_is_refused() {
        let key = ("aws_access_key_id", "id");
        let secret = ("aws_secret_access_key", "secret");
        let token = ("aws_web_identity_token_file", "/token");
        let role = ("aws_role_arn", "arn:aws:iam::1:role/a");
        let relative = ("aws_container_credentials_relative_uri", "/v2/credentials");
        let full = ("aws_container_credentials_full_uri", "http://169.254.170.23/v1/credentials");
        let authorization = ("aws_container_authorization_token_file", "/authorization");
        for (said, is_enough) in [
            (vec![], false),
            (vec![key], false),
            (vec![secret], false),
            (vec![key, secret], true),
            (vec![key, ("aws_secret_access_key", "")], false),
            (vec![key, token, role], false),
            (vec![token], false),
            (vec![role], false),
            (vec![token, role], true),
            (vec![relative], true),
            (vec![("aws_container_credentials_relative_uri", ".example.org/")], false),
            (vec![full], false),
            (vec![authorization], false),
            (vec![full, authorization], true),
            (vec![("aws_container_credentials_full_uri", "http://127.0.0.1:81/a"), authorization], true),
            (vec![("aws_container_credentials_full_uri", "https://example.org/a"), authorization], true),
            (vec![("aws_container_credentials_full_uri", "http://example.org/a"), authorization], false),
        ] {
            let builder = said.iter().fold(AmazonS3Builder::new(), |builder, (key, value)| {
                builder.with_config(key.parse().unwrap(), *value)
            });
            assert_eq!(require(&builder).is_ok(), is_enough, "{said:?}");
        }
    }
}
