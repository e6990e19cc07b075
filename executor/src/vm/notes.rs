//! What the deployer should know of a version of the lane: what is started and as whom, and what was left out.

use images::{Identity, Image, User};
use protocol::{Kind, command_line};

use super::ports::Ports;

/// A command is shown up to here.
const COMMAND_CHARS_MAX: usize = 200;

/// Whole sentences, the most important first.
pub(super) fn of(image: &Image, kind: Kind) -> Vec<String> {
    let config = &image.config;
    let command = command_line::line(&config.argv().map(str::to_owned).collect::<Vec<_>>());
    let mut shown: String = command.chars().take(COMMAND_CHARS_MAX).collect();
    if shown.len() < command.len() {
        shown.push('…');
    }
    let (folder, whom) = (&config.working_dir, whom(&config.identity));
    let mut notes = vec![format!("`{shown}` is started in `{folder}` by {whom}.")];
    notes.extend(match kind {
        Kind::Server => Ports::of(config).notes(),
        Kind::Command | Kind::Http => {
            vec!["It is a command: a request is its input, what it prints the response.".to_owned()]
        }
    });
    notes.extend(image.report.notes());
    notes
}

fn whom(identity: &Identity) -> String {
    let Identity { user: User { uid, gid }, groups, .. } = identity;
    let who = if *uid == 0 { "root".to_owned() } else { format!("user {uid} of group {gid}") };
    match groups.as_slice() {
        [] => who,
        [one] => format!("{who}, also of group {one}"),
        many => format!("{who}, also of groups {}", many.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use images::{Architecture, Dropped, ImageConfig, InputKind, Report, RootFs};
    use protocol::{ByteSize, Digest};

    use super::*;

    #[test]
    fn f14_deploy_says_what_is_started_and_what_was_left_out() {
        let rootfs = RootFs { path: "x.squashfs".into(), size: ByteSize(1), digest: Digest::of(b"x") };
        let identity = Identity { user: User { uid: 33, gid: 33 }, groups: vec![4, 29], home: "/var".to_owned() };
        let config = ImageConfig {
            program: "/usr/sbin/httpd".to_owned(),
            entrypoint: vec!["httpd".to_owned()],
            cmd: vec!["-f".to_owned()],
            env: Vec::new(),
            working_dir: "/srv".to_owned(),
            identity,
            exposed_ports: vec![80],
            architecture: Architecture::HOST,
        };
        let dropped = Dropped { devices: 2, pipes: 1, attributes: 0, links: 3 };
        let report =
            Report { kind: InputKind::OciArchive, layers: 1, entries: 1, bytes: ByteSize(1), dropped, choice: None };
        let mut image = Image { rootfs, base: None, config, report };
        let notes = of(&image, Kind::Server);
        assert_eq!(notes[0], "`httpd -f` is started in `/srv` by user 33 of group 33, also of groups 4, 29.");
        assert_eq!(notes[1], "It is a server, and is asked at port 80, which the image names.");
        assert_eq!(notes.len(), 5);
        assert!(notes[2].starts_with("2 device files were left out"), "{notes:?}");
        image.config.exposed_ports = vec![80, 443];
        let notes = of(&image, Kind::Server);
        assert!(notes.len() == 6 && notes[2].starts_with("The image also exposes 443,"), "{notes:?}");
        image.config.identity = Identity { user: User { uid: 0, gid: 0 }, groups: Vec::new(), home: "/".to_owned() };
        image.config.cmd = vec!["-c".to_owned(), "its file".to_owned()];
        assert!(
            of(&image, Kind::Server)[0].starts_with("`httpd -c 'its file'` is started"),
            "as a shell would read it"
        );
        image.config.cmd = vec!["ä".repeat(300)];
        let notes = of(&image, Kind::Command);
        assert!(notes[0].ends_with("ä…` is started in `/srv` by root."), "{notes:?}");
        assert!(notes[1].starts_with("It is a command"), "{notes:?}");
    }
}
