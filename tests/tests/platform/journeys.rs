//! The journeys of a user, as the literal commands.

use tests::{DoneExt as _, Platform, guest};

use crate::run_path::get;

/// A photo, made here: colours that a decoder must get right to keep them apart.
fn photo(width: u16, height: u16) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(usize::from(width) * usize::from(height) * 3);
    for y in 0..height {
        for x in 0..width {
            let shade = |part: u16, whole: u16| u8::try_from(u32::from(part) * 255 / u32::from(whole)).unwrap();
            pixels.extend([shade(x, width), shade(y, height), 128]);
        }
    }
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 85).encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    jpeg
}

/// Width and height, from a JPEG's frame header.
fn jpeg_size(jpeg: &[u8]) -> (u16, u16) {
    assert_eq!(jpeg.get(..2), Some(&[0xff, 0xd8][..]), "not a JPEG");
    let mut at = 2;
    loop {
        let (marker, length) = (jpeg[at + 1], usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]])));
        if (0xc0..=0xc2).contains(&marker) {
            let number = |at: usize| u16::from_be_bytes([jpeg[at], jpeg[at + 1]]);
            return (number(at + 7), number(at + 5));
        }
        at += 2 + length;
    }
}

#[test]
fn from_nothing_to_an_authenticated_call_in_four_commands() {
    let platform = Platform::start();
    let ada = platform.cli();
    std::fs::write(ada.work().join("photo.jpg"), photo(800, 600)).unwrap();

    ada.shell_with(
        "crowdcloud signup --email ada@example.com --password-stdin --account-name ada",
        b"correct horse battery\n",
    )
    .ok();
    ada.shell("crowdcloud new thumbs --template thumbnail").ok();
    let said = ada.fails("deploy thumbs --no-build", 2, "no_artifact");
    assert!(said.contains("not built yet") && said.contains("crowdcloud build thumbs"), "{said}");
    assert_eq!(ada.json("functions list")["items"].as_array().map(Vec::len), Some(0), "nothing was made for it");
    let printed = ada.shell("crowdcloud deploy thumbs").ok();

    let curl = printed.lines().last().unwrap();
    let start = "curl -H \"Authorization: Bearer cck_";
    let end = format!("\" --data-binary @photo.jpg '{}/f/ada/thumbs?width=320' -o small.jpg", platform.url);
    assert!(curl.starts_with(start) && curl.ends_with(&end), "{curl}");
    ada.shell(&format!("{curl} --fail --silent --show-error")).ok();
    assert_eq!(jpeg_size(&std::fs::read(ada.work().join("small.jpg")).unwrap()), (320, 240));

    // The printed key calls this function, and does nothing else.
    let key = curl.split("Bearer ").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let me = get(&format!("{}/api/v1/functions", platform.url), Some(&key));
    assert_eq!(me.status, 403, "{me:?}");
    // A second deploy prints the same key.
    assert!(ada.shell("crowdcloud deploy thumbs").ok().contains(&key));
}

#[test]
fn every_command_of_the_first_day_works() {
    let platform = Platform::start();
    let ada = platform.user("ada");
    let first = ada.deploy("probe", "--timeout 5s");
    assert_eq!((first["version"].as_u64(), first["alias"].as_str()), (Some(1), Some("live")));
    assert_eq!(first["url"].as_str().unwrap(), format!("{}/f/ada/probe", platform.url));
    let second = ada.deploy("probe", "--env COLOUR=blue --egress-bytes 1MiB");
    assert_eq!(second["version"].as_u64(), Some(2));

    // invoke
    assert_eq!(ada.ok("invoke probe /env"), "COLOUR=blue");
    assert_eq!(ada.ok("invoke probe@v1 /env"), "");
    assert_eq!(ada.ok("invoke ada/probe@live /echo -d hello"), "hello");
    assert_eq!(ada.shell_with("crowdcloud invoke probe /echo -d -", b"from a pipe").ok(), "from a pipe");
    let shown = ada.ok("invoke probe '/status/418' -i -X PUT");
    assert!(shown.starts_with("HTTP/1.1 418"), "{shown}");
    assert_eq!(ada.run("invoke probe /status/503").status, 1, "a function's own 5xx is the function's failure");

    // functions, versions, aliases, rollback
    assert_eq!(ada.json("functions list")["items"][0]["name"], "probe");
    assert_eq!(ada.json("functions show probe")["public"], false);
    assert_eq!(ada.json("versions probe")["items"].as_array().unwrap().len(), 2);
    assert_eq!(ada.json("versions show probe v1")["state"], "ready");
    assert_eq!(ada.json("versions show probe v2")["limits"]["egress_bytes"], "1048576");
    ada.ok("rollback probe");
    assert_eq!(ada.ok("invoke probe /env"), "");
    ada.ok("rollback probe --to v2");
    assert_eq!(ada.ok("invoke probe /env"), "COLOUR=blue");
    ada.ok("aliases set probe canary v1=50 v2=50");
    assert_eq!(ada.json("aliases list probe")["items"].as_array().unwrap().len(), 2);
    ada.ok("aliases set probe canary v1");
    assert_eq!(ada.ok("invoke probe@canary /env"), "");

    // invocations and logs
    ada.ok("invoke probe '/log?lines=4&bytes=20'");
    tests::wait_until("the run's log has come", std::time::Duration::from_secs(10), || {
        ada.ok("logs probe").lines().count() >= 4
    });
    let mut runs = serde_json::Value::Null;
    tests::wait_until("its runs are listed", std::time::Duration::from_secs(10), || {
        runs = ada.json("invocations list probe");
        runs["items"].as_array().is_some_and(|runs| !runs.is_empty())
    });
    let run = runs["items"][0]["run"].as_str().unwrap().to_owned();
    assert_eq!(ada.json(&format!("invocations show {run}"))["function"], "probe");
    assert!(ada.ok(&format!("invocations show {run}")).contains("0B/1MiB"), "of its egress nothing was used");

    // runs that are searched for
    tests::wait_until("the run that failed is listed", std::time::Duration::from_secs(10), || {
        let failed = ada.json("invocations list probe --status 5xx --lane wasm --from 1h");
        failed["items"].as_array().is_some_and(|runs| runs.iter().any(|run| run["path"] == "/status/503"))
    });
    let teapots = ada.json("invocations list probe --status 418 --outcome succeeded,failed --version v2");
    assert_eq!(teapots["items"].as_array().map(Vec::len), Some(1), "{teapots}");
    let of_member = ada.json("invocations list probe --status 418 --member ada@example.com");
    assert_eq!(of_member["items"][0]["run"], teapots["items"][0]["run"], "their own, and their keys'");
    assert_eq!(ada.run("invocations list --member eve@example.com").status, 2);
    assert_eq!(ada.json("invocations list --to 1h")["items"].as_array().map(Vec::len), Some(0), "none is so old");
    let listed = ada.run("invocations list probe --outcome timed-out");
    assert!(listed.stderr.lines().last().unwrap().starts_with("kept since "), "{listed:?}");
    assert!(ada.json("invocations list")["since"].as_str().is_some());
    assert_eq!(ada.run("invocations list probe --status 10xx").status, 2);
    let none = ada.run("invocations list probe --outcome out_of_memory --flagged --principal ada@example.com");
    assert!(none.stderr.starts_with("no run fits"), "{none:?}");
    assert_eq!(
        ada.json("invocations list --from 2020-01-01 --to 2020-01-31")["items"].as_array().map(Vec::len),
        Some(0)
    );
    ada.fails("invocations list nope --status 5xx", 4, "function_not_found");

    // receipts: all that is settled is in them, and sums up to the usage
    tests::wait_until("all ten runs are settled", std::time::Duration::from_secs(10), || {
        ada.json("usage --from 1d")["total"]["runs"] == 10
    });
    let receipts = ada.json("receipts download --from 1d -o receipts.ndjson");
    let usage = ada.json("usage --from 1d")["total"].clone();
    for sum in ["runs", "flagged", "wall_us", "cpu_us", "memory_kib_ms", "bytes_in", "bytes_out"] {
        assert_eq!(receipts["totals"][sum], usage[sum], "{sum}: {receipts} {usage}");
    }
    assert_eq!((&receipts["whole"], &receipts["blocks"]), (&true.into(), &1.into()), "{receipts}");
    assert!(ada.shell("cat receipts.ndjson").ok().starts_with("{\"block\":{"));
    assert!(ada.ok("receipts download --to 2020-01-31 -o none.ndjson").contains("blocks           0"));

    // keys
    let key = ada.ok("keys create reader --scope read");
    let answer = get(&format!("{}/api/v1/functions", platform.url), Some(&key));
    assert_eq!(answer.status, 200);
    let id = ada.json("keys list")["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["name"] == "reader")
        .map(|key| key["id"].as_str().unwrap().to_owned())
        .unwrap();
    ada.ok(&format!("keys delete {id} --yes"));
    tests::wait_until("the revocation holds within a second", std::time::Duration::from_secs(1), || {
        get(&format!("{}/api/v1/functions", platform.url), Some(&key)).status == 401
    });

    // public, and away
    ada.ok("functions set probe --public");
    assert_eq!(get(&format!("{}/f/ada/probe/status/204", platform.url), None).status, 204);
    ada.ok("functions delete probe --yes");
    assert_eq!(ada.run("invoke probe").status, 4);
    assert_eq!(ada.json("functions list --deleted")["items"][0]["name"], "probe");

    // nodes, accounts, doctor
    assert_eq!(ada.json("nodes list")["items"][0]["state"], "online");
    assert_eq!(ada.json("accounts list")["items"][0]["account"]["name"], "ada");
    let deleted = &ada.json("audit list --action function --actor ada@example.com --limit 1")["items"];
    assert_eq!(deleted.as_array().unwrap().len(), 0, "{deleted}: the command line works with a key");
    let deleted = &ada.json("audit list --action function --from 1h --limit 1")["items"];
    assert_eq!(deleted[0]["action"], "function.delete", "{deleted}");
    let csv = ada.ok("audit list --action function.delete --csv");
    assert!(csv.starts_with("revision,at,actor,actor_name,action,subject\r\n"), "{csv}");
    assert!(csv.lines().count() > 1, "{csv}");
    let invitation = ada.json("accounts invite bob@example.com --role member");
    let link = invitation["link"].as_str().unwrap();
    let bob = platform.cli();
    bob.shell_with(
        &format!("crowdcloud signup --email bob@example.com --password-stdin --invitation {link}"),
        b"correct horse battery\n",
    )
    .ok();
    assert_eq!(ada.json("accounts members")["items"].as_array().unwrap().len(), 2);
    // A member's command line has a key of its own, and revokes it.
    assert_eq!(bob.json("whoami")["scopes"], serde_json::json!(["deploy"]));
    bob.ok("functions list");
    bob.ok("logout");
    assert_eq!(bob.run("whoami").status, 3);
    ada.ok("doctor");

    // log out, and in again
    ada.ok("logout");
    assert_eq!(ada.run("whoami").status, 3);
    ada.shell_with("crowdcloud login --email ada@example.com --password-stdin", b"correct horse battery\n").ok();
    assert_eq!(ada.json("whoami")["accounts"][0]["account"]["name"], "ada");
}

#[test]
fn the_operator_s_link_works_once() {
    let platform = Platform::start();
    let link = platform.operator_link.clone().unwrap();
    let signup = |account: &str| {
        platform.cli().shell_with(
            &format!(
                "crowdcloud signup --email {account}@example.com --password-stdin --account-name {account} \
                 --operator-token '{link}' --json"
            ),
            b"correct horse battery\n",
        )
    };
    let me: serde_json::Value = serde_json::from_str(&signup("ada").ok()).unwrap();
    assert_eq!(me["user"]["operator"], true);
    assert_ne!(signup("eve").status, 0);
}

#[test]
fn a_command_and_a_markdown_page_work_too() {
    let platform = Platform::start();
    let ada = platform.user("ada");
    ada.json(&format!("deploy {} --name shout", guest("shout").display()));
    assert_eq!(ada.ok("invoke shout -d hello").trim().to_uppercase(), ada.ok("invoke shout -d hello").trim());
    ada.deploy("markdown", "");
    let page = ada.shell_with("crowdcloud invoke markdown -d -", b"# Title\n\n```rust\nfn main() {}\n```\n");
    let page = page.ok();
    assert!(page.contains("<h1") && page.contains("Title") && page.contains("main"), "{page}");
}
