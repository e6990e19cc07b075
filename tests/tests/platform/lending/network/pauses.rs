//! A machine is its owner's again within a second, however that is said. (The VM lane: `vm::lent`.)

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use tests::{signal, wait_until};

use super::{Ground, Machine, where_others_are};
use crate::lending::status;

const SUPPLIES: &str = "/sys/class/power_supply";
const CORES: &str = "/proc/stat";
const PRESSURE: &str = "/proc/pressure/memory";
/// From a command's answer on, or from a signal.
const SECOND: Duration = Duration::from_secs(1);
/// What its owner does shows in three looks, each a quarter of a second after the one before.
const SEEN_WITHIN: Duration = Duration::from_millis(2500);
const RUNS_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn a_machine_is_its_owners_within_a_second(ground: &Ground) {
    let battery = ground.folder.path().join("supplies/BAT0");
    std::fs::create_dir_all(&battery).unwrap();
    std::fs::write(battery.join("type"), "Battery\n").unwrap();
    let charge = |status: &str| std::fs::write(battery.join("status"), format!("{status}\n")).unwrap();
    charge("Full");
    let supplies = ground.folder.path().join("supplies");
    let token = ground.token("attic-7");
    let [cores, pressure] = ["stat", "pressure"].map(|name| ground.folder.path().join(name));
    let is_busy = with_cores(&cores);
    std::fs::write(&pressure, "").unwrap();
    let mut others = vec![(supplies.as_path(), SUPPLIES), (cores.as_path(), CORES)];
    others.extend(Path::new(PRESSURE).exists().then_some((pressure.as_path(), PRESSURE)));
    let flags = ["--token", token.as_str(), "--pause-on-battery", "--pause-when-owner-active"];
    let command = where_others_are(&others, &ground.lend("attic-7", &flags));
    let machine = Machine::start(&ground.attic, "attic-7", command);
    ground.wait_online(&machine);
    let (pid, ada) = (machine.pid(), &ground.ada);
    wait_until("it listens to its owner", RUNS_WITHIN, || machine.data.join("lend.sock").exists());
    let lend = |what: &str| drop(machine.lend(ada, what));

    let stops = |why: &str, within: Duration, pause: &dyn Fn()| stops(ground, &machine, (why, within), pause);
    stops("its owner's word", SECOND, &|| lend("pause"));
    lend("resume");
    stops("the portal's wish", SECOND, &|| drop(ada.ok("nodes pause attic-7")));
    ada.ok("nodes resume attic-7");
    stops("a signal", SECOND, &|| signal(pid, Signal::USR1));
    signal(pid, Signal::USR2);
    stops("the battery", SECOND, &|| charge("Discharging"));
    charge("Full");
    stops("quiet hours", SECOND, &|| lend("caps set --quiet-hours 'Mon-Sun 00:00-24:00 UTC'"));
    // Hours are not lifted by a resume, but by others.
    lend(&format!("caps set --quiet-hours '{} 00:00-00:01 UTC'", another_day()));
    // The last: it takes a minute of calm.
    stops("its owner's work", SEEN_WITHIN, &|| is_busy.store(true, Ordering::Relaxed));
    assert_eq!(machine.status(ada)["paused"][0]["reason"], "owner_active");
    machine.stop();
}

/// A machine's cores, in this file: idle, or busy with something else. They count as long as somebody has the switch.
fn with_cores(file: &Path) -> Arc<AtomicBool> {
    let switch = Arc::new(AtomicBool::new(false));
    let (mut stat, held) = (File::create(file).unwrap(), Arc::downgrade(&switch));
    let (mut busy, mut idle) = (1_000_000_u64, 1_000_000_u64);
    let mut count = move |is_busy: bool| {
        *(if is_busy { &mut busy } else { &mut idle }) += 100_000;
        // As long as before: so whoever reads meanwhile finds a whole line.
        stat.rewind().unwrap();
        stat.write_all(format!("cpu  {busy:020} 0 0 {idle:020} 0 0 0 0 0 0\n").as_bytes()).unwrap();
    };
    count(false);
    std::thread::spawn(move || {
        while let Some(switch) = held.upgrade() {
            count(switch.load(Ordering::Relaxed));
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    switch
}

/// A day of the week that is neither today nor tomorrow.
fn another_day() -> &'static str {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    // The first one was a Thursday.
    ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from((days + 3) % 7).unwrap()]
}

/// What runs there is given back soon after it, and nothing new is taken.
fn stops(ground: &Ground, machine: &Machine, (why, within): (&str, Duration), pause: &dyn Fn()) {
    let paused = |status: &serde_json::Value| !status["paused"].as_array().unwrap().is_empty();
    wait_until("it lends", RUNS_WITHIN, || !paused(&status(&machine.data)));
    ground.works(machine);
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| ground.call("/sleep?ms=20000"));
        let running = |status: &serde_json::Value| status["running"].as_u64().unwrap();
        wait_until("it runs", RUNS_WITHIN, || running(&status(&machine.data)) > 0);
        pause();
        wait_until(&format!("{why} pauses it"), within, || {
            let status = status(&machine.data);
            paused(&status) && running(&status) == 0
        });
        let answer = calling.join().unwrap();
        assert!([502, 503].contains(&answer.status), "{why}: {answer:?}");
    });
}
