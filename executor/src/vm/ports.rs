//! Where a server is asked. No setting says it: `PORT` tells the server, and its image may expose ports of its own.

use images::ImageConfig;
use microvm::EGRESS_PORT;

/// Where a server listens whose image exposes no port.
pub(super) const PORT: u16 = 8080;
/// So many ports are told one by one.
const TOLD_MAX: usize = 8;

/// The port at which a server is asked, and those that its image exposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) asked: u16,
    /// Rising.
    exposed: Vec<u16>,
}

impl Ports {
    /// A server that does not look at `PORT` listens where its image says. Of several ports it is the one that the image's
    /// own `PORT` names, else the usual one, else the lowest.
    pub(super) fn of(image: &ImageConfig) -> Self {
        let exposed: Vec<u16> = image.exposed_ports.iter().copied().filter(|port| *port != EGRESS_PORT).collect();
        let told = image.env.iter().find(|(name, _)| name == "PORT");
        let told = told.and_then(|(_, value)| value.parse::<u16>().ok()).filter(|told| exposed.contains(told));
        let usual = Some(PORT).filter(|usual| exposed.contains(usual));
        let asked = told.or(usual).or(exposed.first().copied()).unwrap_or(PORT);
        Self { asked, exposed }
    }

    /// What the deployer should know of them, in sentences.
    pub(super) fn notes(&self) -> Vec<String> {
        let asked = self.asked;
        let why = if self.exposed.contains(&asked) { "which the image names" } else { "which it finds in PORT" };
        let mut notes = vec![format!("It is a server, and is asked at port {asked}, {why}.")];
        let others: Vec<u16> = self.exposed.iter().copied().filter(|port| *port != asked).collect();
        if let Some(other) = others.first() {
            notes.push(format!(
                "The image also exposes {}, and is not asked there. Of several ports it is the one that the image's own \
                 variable PORT names, else {PORT}, else the lowest: `ENV PORT={other}` in the Dockerfile chooses {other}.",
                list(&others)
            ));
        }
        notes
    }

    /// What is wrong where nobody has listened there, `within` a time.
    pub(super) fn unanswered(&self, within: &str) -> String {
        let exposed = match self.exposed.as_slice() {
            [] => "no port".to_owned(),
            exposed => list(exposed),
        };
        format!("nothing listened on port {}, the one in PORT, {within}; the image exposes {exposed}", self.asked)
    }
}

fn list(ports: &[u16]) -> String {
    let told: Vec<String> = ports.iter().take(TOLD_MAX).map(u16::to_string).collect();
    let (told, more) = (told.join(", "), ports.len().saturating_sub(TOLD_MAX));
    if more == 0 { told } else { format!("{told} and {more} more") }
}

#[cfg(test)]
mod tests {
    use images::{Architecture, Identity, User};

    use super::*;

    fn ports(exposed: &[u16], env: &[(&str, &str)]) -> Ports {
        Ports::of(&ImageConfig {
            program: "/bin/app".to_owned(),
            entrypoint: vec!["app".to_owned()],
            cmd: Vec::new(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            working_dir: "/".to_owned(),
            identity: Identity { user: User::FUNCTION, groups: Vec::new(), home: "/".to_owned() },
            exposed_ports: exposed.to_vec(),
            architecture: Architecture::HOST,
        })
    }

    #[test]
    fn one_port_is_asked_and_the_others_are_told_with_the_rule() {
        type Case = (&'static [u16], &'static [(&'static str, &'static str)], u16);
        let cases: [Case; 7] = [
            (&[], &[("PORT", "3000")], PORT),
            (&[80, 443], &[], 80),
            (&[80, PORT], &[], PORT),
            (&[80, 3000, PORT], &[("PORT", "3000")], 3000),
            (&[80, 443], &[("PORT", "3000")], 80),
            (&[80, 443], &[("PORT", "web")], 80),
            (&[EGRESS_PORT], &[], PORT),
        ];
        for (exposed, env, asked) in cases {
            assert_eq!(ports(exposed, env).asked, asked, "{exposed:?} {env:?}");
        }
        assert_eq!(ports(&[80], &[]).notes(), ["It is a server, and is asked at port 80, which the image names."]);
        assert_eq!(ports(&[], &[]).notes(), ["It is a server, and is asked at port 8080, which it finds in PORT."]);
        let notes = ports(&[443, 8080, 9000], &[]).notes();
        assert_eq!(notes[0], "It is a server, and is asked at port 8080, which the image names.");
        assert!(notes[1].starts_with("The image also exposes 443, 9000, and is not asked there."), "{notes:?}");
        assert!(notes[1].ends_with("`ENV PORT=443` in the Dockerfile chooses 443."), "{notes:?}");
        let many: Vec<u16> = (8000..9000).collect();
        let notes = ports(&many, &[]).notes();
        assert!(notes[1].contains("8006, 8007 and 991 more") && notes[1].len() < 400, "{notes:?}");
    }

    #[test]
    fn a_port_where_nobody_listens_is_named_with_those_of_the_image() {
        let said = ports(&[80, 443], &[]).unanswered("within 60 s");
        assert_eq!(said, "nothing listened on port 80, the one in PORT, within 60 s; the image exposes 80, 443");
        let said = ports(&[], &[]).unanswered("in time");
        assert_eq!(said, "nothing listened on port 8080, the one in PORT, in time; the image exposes no port");
    }
}
