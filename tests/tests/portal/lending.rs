//! A lender's way: a machine is added in the browser, told what to do from both sides, and leaves.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tests::{Cli, Platform, alive, signal, wait_until};

use crate::browser::Browser;

/// A machine that lends, for as long as a test needs it.
pub(crate) struct Machine {
    shell: Cli,
    folder: PathBuf,
    pid: u32,
}

impl Machine {
    /// Added on the page of nodes: the line that is shown there runs in this shell.
    pub(crate) async fn added(user: &Browser, shell: Cli) -> Self {
        user.presses("Add a machine").await;
        user.sees("Waiting for the machine").await;
        user.sees("Unused tokens").await;
        let line = user.element(".joining pre").await.text().await.unwrap();
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(line.starts_with("crowdcloud lend --token ccl1_"), "{line}");
        let folder = shell.work().join("attic");
        let flags = format!("--yes --no-vm --cores 2 --name attic --data {}", folder.display());
        let started = shell.shell(&format!("{line} {flags} < /dev/null > out 2> err & echo $!"));
        Self { pid: started.text().trim().parse().unwrap(), shell, folder }
    }

    /// `crowdcloud lend VERB`, as its owner says it there.
    fn lend(&self, verb: &str) -> String {
        self.shell.ok(&format!("lend {verb} --data {}", self.folder.display()))
    }

    fn status(&self) -> serde_json::Value {
        self.shell.json(&format!("lend status --data {}", self.folder.display()))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if alive(self.pid) {
            signal(self.pid, Signal::KILL);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lender_adds_a_machine_lowers_and_pauses_it_from_afar_and_takes_it_back() {
    let platform = Platform::start();
    let ada = Browser::open(&platform.url).await;
    ada.signs_up("ada", "personal").await;
    ada.visit("/a/ada/nodes").await;
    let machine = Machine::added(&ada, platform.cli()).await;
    ada.sees("It is online, and takes runs.").await;
    ada.counts(".rows dialog", 0).await;
    ada.presses("Its page").await;
    ada.sees("It takes runs.").await;
    wait_until("it listens to its owner", Duration::from_secs(5), || machine.folder.join("lend.sock").exists());

    // Caps are lowered from here, within what was agreed there.
    ada.fills("cores", "1").await;
    ada.presses("Lend less").await;
    ada.sees("In force").await;
    assert_eq!(machine.status()["caps"]["cores"], 1);
    ada.fills("cores", "64").await;
    ada.presses("Lend less").await;
    ada.sees("2 was agreed on the machine").await;
    ada.sees("crowdcloud lend caps set --cores").await;

    ada.selects("lasts", "2").await;
    ada.presses("Pause").await;
    ada.sees("Paused by its owner until").await;
    ada.sees("said from afar").await;
    let paused = machine.status()["paused"][0].clone();
    assert_eq!((paused["reason"].as_str(), paused["by"].as_str()), (Some("by_owner"), Some("portal")));
    assert!(machine.lend("status").contains("paused by its owner until"));
    ada.presses("Resume").await;
    ada.sees("It takes runs.").await;
    ada.sees("paused from afar").await;

    // The machine has the last word.
    machine.lend("pause");
    ada.sees("said on the machine").await;
    machine.lend("resume");
    ada.sees("It takes runs.").await;

    machine.lend("leave --yes");
    ada.sees("It is no node any more.").await;
    let text = ada.text().await;
    for offered in ["Lend less", " free", "Pause", "Trust"] {
        assert!(!text.contains(offered), "{offered:?} of a node that has left:\n{text}");
    }
    wait_until("its software has ended", Duration::from_secs(10), || !alive(machine.pid));
    assert!(!machine.folder.exists());
    ada.visit("/a/ada/nodes").await;
    ada.sees("Add a machine").await;
    assert!(!ada.text().await.contains("attic"));
    assert!(ada.script("return document.querySelector('.broken')").await.is_null());
}
