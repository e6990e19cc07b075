//! Who an image's program is, in numbers: its names are looked up in its own files, as container runtimes do it.

use crate::error::Error;
use crate::image::{Identity, User};
use crate::source::Stores;
use crate::tree::{Body, Found, Tree};

/// `/etc/passwd` and `/etc/group`.
const ACCOUNTS_BYTES_MAX: u64 = 1 << 20;
/// Groups of one user, as many as a kernel of old took.
const GROUPS_MAX: usize = 1024;
/// `(uid_t) -1`: to the kernel it means that a number stays as it is (setresuid(2)).
const NOBODY_AT_ALL: u32 = u32::MAX;
/// Who is meant where only a group is named, as container runtimes take it.
const ROOT: &str = "0";
/// Of whoever has no line.
const HOME: &str = "/";

/// An image's accounts.
pub(crate) struct Accounts {
    passwd: String,
    group: String,
}

/// `name:password:uid:gid:comment:home:shell`
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// `name:password:gid:members`
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl Accounts {
    /// The accounts of a tree; it need not have any.
    pub(crate) fn read(tree: &Tree<'_>, stores: &Stores) -> Result<Self, Error> {
        let text = |file: &str| -> Result<String, Error> {
            let Some(Found { node, .. }) = tree.find(file.as_bytes()) else { return Ok(String::new()) };
            let Body::File(blob) = node.body else { return Ok(String::new()) };
            if blob.len > ACCOUNTS_BYTES_MAX {
                return Err(Error::InvalidConfig(format!("`{file}` has more than {ACCOUNTS_BYTES_MAX} bytes")));
            }
            Ok(String::from_utf8_lossy(&stores.all(blob)?).into_owned())
        };
        Ok(Self { passwd: text("/etc/passwd")?, group: text("/etc/group")? })
    }

    /// Whom `user`, `uid`, `user:group`, `uid:gid` or `:group` means; where nobody is named, root. A group that is named
    /// is the only one.
    pub(crate) fn find(&self, said: &str) -> Result<Identity, Error> {
        let (user, group) = said.split_once(':').unwrap_or((said, ""));
        let user = if user.is_empty() { ROOT } else { user };
        let number: Option<u32> = user.parse().ok();
        let mut accounts = self.passwd.lines().filter_map(account);
        let found = accounts.find(|account| account.name == user || number == Some(account.uid));
        let uid = match (&found, number) {
            // A name may be a number, too.
            (Some(account), _) => account.uid,
            (None, Some(number)) => number,
            (None, None) => return Err(unknown("user", user)),
        };
        if uid == NOBODY_AT_ALL {
            return Err(unknown("user", user));
        }
        let home = found.as_ref().map(|account| account.home).filter(|home| !home.is_empty()).unwrap_or(HOME);
        let (gid, groups) = match &found {
            _ if !group.is_empty() => (self.group_of(group)?, Vec::new()),
            Some(account) => (account.gid, self.groups_of(account)),
            None => (0, Vec::new()),
        };
        Ok(Identity { user: User { uid, gid }, groups, home: home.to_owned() })
    }

    fn group_of(&self, said: &str) -> Result<u32, Error> {
        let number: Option<u32> = said.parse().ok();
        let found = self.group.lines().filter_map(group).find(|group| group.name == said);
        let gid = found.map(|group| group.gid).or(number).filter(|gid| *gid != NOBODY_AT_ALL);
        gid.ok_or_else(|| unknown("group", said))
    }

    /// Those that name the user among their members.
    fn groups_of(&self, account: &Account<'_>) -> Vec<u32> {
        let has = |group: &Group<'_>| group.members.split(',').any(|member| member.trim() == account.name);
        let mut groups: Vec<u32> =
            self.group.lines().filter_map(group).filter(has).map(|group| group.gid).take(GROUPS_MAX).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }
}

fn account(line: &str) -> Option<Account<'_>> {
    let mut fields = line.split(':');
    let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let home = fields.nth(1).unwrap_or_default();
    Some(Account { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
}

fn group(line: &str) -> Option<Group<'_>> {
    let mut fields = line.split(':');
    let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Group { name, gid: gid.parse().ok()?, members: fields.next().unwrap_or_default() })
}

fn unknown(what: &str, name: &str) -> Error {
    Error::InvalidConfig(format!("the image's {what} `{name}` is not among its own"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nbare:x:7:8\n".to_owned(),
            group: "root:x:0:\nvideo:x:44:app,root\naudio:x:29:other, app\nwheel:x:10:root\n".to_owned(),
        }
    }

    #[test]
    fn f06_a_user_has_all_groups_and_the_home_of_the_images_files() {
        type Found = (u32, u32, &'static [u32], &'static str);
        let cases: [(&str, Found); 12] = [
            ("app", (1000, 1000, &[29, 44], "/home/app")),
            ("1000", (1000, 1000, &[29, 44], "/home/app")),
            ("app:", (1000, 1000, &[29, 44], "/home/app")),
            ("app:video", (1000, 44, &[], "/home/app")),
            ("root", (0, 0, &[10, 44], "/root")),
            ("bare", (7, 8, &[], "/")),
            ("77", (77, 0, &[], "/")),
            ("77:78", (77, 78, &[], "/")),
            ("", (0, 0, &[10, 44], "/root")),
            (":", (0, 0, &[10, 44], "/root")),
            (":video", (0, 44, &[], "/root")),
            (":78", (0, 78, &[], "/root")),
        ];
        for (said, (uid, gid, groups, home)) in cases {
            let found = accounts().find(said).unwrap();
            assert_eq!(
                found,
                Identity { user: User { uid, gid }, groups: groups.to_vec(), home: home.to_owned() },
                "{said}"
            );
        }
        for said in ["ghost", "app:ghost", ":ghost", "4294967295", "4294967296", "-1", "app:4294967295"] {
            assert!(matches!(accounts().find(said), Err(Error::InvalidConfig(_))), "{said}");
        }
    }
}
