//! A machine that is revoked while it works.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::wait_until;

use super::{Ground, Machine, PORT};

const CALLERS: usize = 4;
/// They call for so long before it is revoked.
const UNDER_LOAD: Duration = Duration::from_secs(1);
const CUT_WITHIN: Duration = Duration::from_secs(1);
/// They call no longer, whatever fails meanwhile.
const CALLING_MAX: Duration = Duration::from_secs(30);

/// A call: when it began, its status, and the node that has answered.
type Called = (Instant, u16, Option<String>);

pub(super) fn a_revoked_machine_is_cut_off_under_load(ground: &Ground) {
    let mut machine = ground.join(&ground.attic, "attic-9", &[]);
    let other = ground.join(&ground.cellar, "cellar-9", &[]);
    let (id, calling) = (ground.id(&machine), AtomicBool::new(true));
    let calls = || {
        let (begun, mut called) = (Instant::now(), Vec::<Called>::new());
        while calling.load(Ordering::Relaxed) && begun.elapsed() < CALLING_MAX {
            let began = Instant::now();
            let answer = ground.call("/burn?ms=5");
            called.push((began, answer.status, answer.header("x-crowdcloud-node").map(str::to_owned)));
        }
        called
    };
    let (revoked_at, called) = std::thread::scope(|scope| {
        let callers = [(); CALLERS].map(|()| scope.spawn(calls));
        std::thread::sleep(UNDER_LOAD);
        ground.ada.ok(&format!("nodes revoke {id} --yes"));
        let revoked_at = Instant::now();
        let cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("it is cut off", CUT_WITHIN, || ground.attic.connections_to(PORT) == 0);
        }));
        std::thread::sleep(CUT_WITHIN);
        calling.store(false, Ordering::Relaxed);
        let called: Vec<Called> = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
        cut.unwrap();
        (revoked_at, called)
    });
    let at_it = |called: &Called| called.2.as_deref() == Some(id.as_str());
    assert!(called.iter().any(at_it), "it was under load");
    let failed: Vec<_> = called.iter().filter(|called| called.1 != 200).collect();
    // Of what was in flight there: each caller has one call at a time.
    assert!(failed.len() <= CALLERS && failed.iter().all(|called| called.0 < revoked_at), "{failed:?}");
    let late = called.iter().filter(|called| at_it(called) && called.0 > revoked_at).count();
    assert_eq!(late, 0, "calls went to it afterwards");

    let refused = |machine: &mut Machine| {
        let status = machine.ends(Duration::from_secs(5));
        wait_until("it says why", Duration::from_secs(2), || machine.said().contains("node_left"));
        assert!(!status.success());
    };
    refused(&mut machine);
    let command = ground.lend("attic-9", &[]);
    refused(&mut Machine::start(&ground.attic, "attic-9", command));
    ground.works(&other);
    other.stop();
}
