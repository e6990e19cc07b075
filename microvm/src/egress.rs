//! A workload's way out: a port of the guest's loopback, behind which is a proxy of the host's, and how a program finds it.

/// Where the agent listens. Nothing else of the guest does.
pub const PORT: u16 = 3128;

/// Programs look for their proxy under these names.
const PROXY: [&str; 4] = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"];
/// Where no proxy is needed.
const DIRECT: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Whether a workload has a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Egress {
    /// Nothing leaves the guest.
    #[default]
    None,
    /// An HTTP proxy, of whose connections the run gives the host's end.
    Proxy,
    /// The same, of which the environment says nothing: the program knows.
    UntoldProxy,
}

/// The workload's environment, with what leads to the proxy, if there is one: whatever else had these names.
pub(crate) fn environment(mut env: Vec<String>, egress: Egress) -> Vec<String> {
    if egress != Egress::Proxy {
        return env;
    }
    env.retain(|variable| {
        let name = variable.split('=').next().unwrap_or_default();
        !PROXY.contains(&name) && !DIRECT.contains(&name)
    });
    env.extend(PROXY.map(|name| format!("{name}=http://127.0.0.1:{PORT}")));
    env.extend(DIRECT.map(|name| format!("{name}=localhost,127.0.0.1,::1")));
    env
}

#[cfg(test)]
mod tests {
    use super::{Egress, environment};

    #[test]
    fn only_a_workload_with_a_way_out_is_told_of_a_proxy_and_of_the_true_one() {
        let env = vec!["A=b".to_owned(), "HTTP_PROXY=http://evil".to_owned()];
        for untold in [Egress::None, Egress::UntoldProxy] {
            assert_eq!(environment(env.clone(), untold), env);
        }
        let told = environment(env, Egress::Proxy);
        assert_eq!(told.len(), 7);
        assert_eq!(told[0], "A=b");
        assert!(told.contains(&"HTTP_PROXY=http://127.0.0.1:3128".to_owned()), "{told:?}");
        assert!(!told.iter().any(|variable| variable.contains("evil")), "{told:?}");
    }
}
