//! The rule, the lines, and that nothing is remembered of whoever has gone.

use std::collections::HashMap;
use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;

fn shares(total: u64) -> Shares<u8> {
    Shares::with_lines(total, TenantShare::DEFAULT, 100)
}

/// All that a tenant can take, one by one.
fn greedy(shares: &Shares<u8>, tenant: u8) -> Vec<Held<u8>> {
    std::iter::from_fn(|| shares.try_take(tenant, 1).ok()).collect()
}

#[test]
fn a06_one_alone_has_nearly_all_and_others_still_have_room() {
    let shares = shares(128);
    let first = greedy(&shares, 1);
    assert_eq!(first.len(), 96);
    assert_eq!(shares.try_take(1, 1).unwrap_err(), Over::Share);
    let second = greedy(&shares, 2);
    assert_eq!(second.len(), 24);
    assert!(!greedy(&shares, 3).is_empty(), "a third one finds room, too");
    drop((first, second));
    assert_eq!((shares.held(), shares.tenants()), (0, 0));
}

#[test]
fn a06_whoever_takes_again_comes_to_an_equal_share() {
    let shares = shares(100);
    let (mut one, mut two) = (greedy(&shares, 1), greedy(&shares, 2));
    for _ in 0..500 {
        one.pop();
        one.extend(greedy(&shares, 1));
        two.extend(greedy(&shares, 2));
        two.pop();
    }
    // As equal as whole units and 75 percent of what is left allow.
    assert!(one.len().abs_diff(two.len()) <= 5, "{} and {}", one.len(), two.len());
    assert!(one.len() >= 40);
}

#[test]
fn of_very_little_each_has_one() {
    let one = shares(1);
    let held = one.try_take(1, 1).unwrap();
    assert_eq!(one.try_take(2, 1).unwrap_err(), Over::Total);
    drop(held);
    let two = shares(2);
    let _held = (two.try_take(1, 1).unwrap(), two.try_take(2, 1).unwrap());
    assert_eq!(shares(0).try_take(1, 1).unwrap_err(), Over::Total);
    // What needs all that there is can have it, where nobody else has anything.
    assert!(shares(10).try_take(1, 10).is_ok());
}

type Waiter = std::pin::Pin<Box<dyn Future<Output = Result<Held<u8>, Over>>>>;

fn waiter(shares: &Shares<u8>, tenant: u8) -> Waiter {
    let shares = shares.clone();
    let mut waiter: Waiter = Box::pin(async move { shares.take(tenant).await });
    assert!(poll(&mut waiter).is_none(), "it has to wait");
    waiter
}

fn poll(waiter: &mut Waiter) -> Option<Result<Held<u8>, Over>> {
    match waiter.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(held) => Some(held),
        Poll::Pending => None,
    }
}

#[test]
fn a06_a_tenant_that_comes_later_goes_next() {
    for total in [1, 2] {
        let shares = shares(total);
        let held = shares.try_take(1, 1).unwrap();
        // Where there are two, another one takes the second.
        let other = (total == 2).then(|| shares.try_take(3, 1).unwrap());
        let mut long: Vec<Waiter> = (0..20).map(|_| waiter(&shares, 1)).collect();
        let mut late = waiter(&shares, 2);
        drop(held);
        let late = poll(&mut late).expect("it is its turn").unwrap();
        assert!(long.iter_mut().all(|waiter| poll(waiter).is_none()));
        drop(late);
        let first = poll(&mut long[0]).expect("then the first of those that waited");
        drop((first, other));
    }
}

#[test]
fn turns_go_round() {
    let shares = shares(1);
    let mut held = shares.try_take(9, 1).unwrap();
    let mut waiting: Vec<(u8, Waiter)> =
        [1, 1, 1, 2, 2, 2].iter().map(|tenant| (*tenant, waiter(&shares, *tenant))).collect();
    let mut order = Vec::new();
    for _ in 0..6 {
        drop(held);
        let (place, next) = waiting
            .iter_mut()
            .enumerate()
            .find_map(|(place, (_, waiter))| Some((place, poll(waiter)?)))
            .expect("somebody's turn");
        held = next.unwrap();
        order.push(waiting.remove(place).0);
    }
    assert_eq!(order, [1, 2, 1, 2, 1, 2]);
}

#[test]
fn who_leaves_is_forgotten_and_holds_up_nobody() {
    let shares = shares(1);
    let held = shares.try_take(1, 1).unwrap();
    let mut waiting: Vec<Waiter> = (0..10).map(|_| waiter(&shares, 2)).collect();
    let mut last = waiting.pop().unwrap();
    drop(waiting);
    drop(held);
    let held = poll(&mut last).expect("its turn").unwrap();
    // One whose turn was told, and who left before it heard.
    let told = waiter(&shares, 3);
    drop(held);
    assert_eq!(shares.held_by(&3), 1);
    drop(told);
    assert_eq!((shares.held(), shares.tenants()), (0, 0));
}

#[test]
fn lines_have_a_bound_and_shares_too() {
    let shares: Shares<u8> = Shares::with_lines(1, TenantShare::DEFAULT, 4);
    let _held = shares.try_take(9, 1).unwrap();
    let _waiting: Vec<Waiter> = (0..3).map(|_| waiter(&shares, 1)).collect();
    let mut fourth = pin!(shares.take(1));
    let refused = fourth.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(refused, Poll::Ready(Err(Over::Share))));
    assert_eq!([1, 2].map(|tenant| shares.refuses(&tenant)), [Some(Over::Share), None]);
    let _other = waiter(&shares, 2);
    let mut none = pin!(shares.take(3));
    let refused = none.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(refused, Poll::Ready(Err(Over::Total))));
    assert_eq!(shares.refuses(&3), Some(Over::Total));
}

#[test]
fn shares_are_read_as_they_are_written() {
    assert_eq!("75%".parse(), Ok(TenantShare::DEFAULT));
    assert_eq!("75".parse(), Ok(TenantShare::DEFAULT));
    assert_eq!(TenantShare::DEFAULT.to_string(), "75%");
    assert!(["0", "101", "", "-1", "x%"].iter().all(|text| text.parse::<TenantShare>().is_err()));
    assert_eq!([0, 1, 2, 3, 128].map(|total| TenantShare::DEFAULT.alone(total)), [0, 1, 1, 2, 96]);
}

proptest! {
    #[test]
    fn never_more_than_there_is_and_never_more_than_a_share(
        total in 1_u64..200,
        percent in 1_u8..=100,
        steps in prop::collection::vec((0_u8..5, 1_u64..9, any::<bool>()), 0..300),
    ) {
        let share: TenantShare = percent.to_string().parse().unwrap();
        let shares: Shares<u8> = Shares::new(total, share);
        let mut held: Vec<(u8, u64, Held<u8>)> = Vec::new();
        for (tenant, units, give) in steps {
            if give && !held.is_empty() {
                drop(held.remove(usize::from(tenant) % held.len()));
                continue;
            }
            let before = shares.held_by(&tenant);
            let others = shares.held() - before;
            match shares.try_take(tenant, units) {
                Ok(one) => {
                    let first = before == 0;
                    prop_assert!(first || (before + units) * 100 <= (total - others) * u64::from(percent));
                    held.push((tenant, units, one));
                }
                Err(Over::Total) => prop_assert!(shares.held() + units > total),
                Err(Over::Share) => prop_assert!(before > 0),
            }
            let mut by: HashMap<u8, u64> = HashMap::new();
            for (tenant, units, _) in &held {
                *by.entry(*tenant).or_default() += units;
            }
            prop_assert_eq!(by.values().sum::<u64>(), shares.held());
            prop_assert!(shares.held() <= total);
            prop_assert_eq!(by.len(), shares.tenants());
        }
    }
}
