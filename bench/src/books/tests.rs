//! The generator against a real control plane: small numbers.

use std::time::{Duration, Instant};

use protocol::api::InvocationPage;

use super::api::Ask;
use super::control_plane::Programs;
use super::generator::{Pace, Until};
use super::world::{GATEWAYS, World};
use crate::nats;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_generated_is_settled_once_and_can_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (crowdcloud, nats_server) = (tests::program(), nats::binary());
    let programs = Programs { crowdcloud: &crowdcloud, nats_server: &nats_server };
    let url = format!("sqlite://{}", folder.path().join("books.db").display());
    let mut world = Box::pin(World::start(programs, folder.path(), url, None, 3)).await.unwrap();
    let until = Until { ends: Instant::now() + Duration::from_secs(60), runs: 40 };
    let done = world.send(Pace { batch: 20, every: None }, until).await.unwrap();
    assert_eq!((done.len(), world.runs), (2 * GATEWAYS, 40 * GATEWAYS as u64));
    assert_eq!(world.told().await.unwrap(), (world.runs, 0), "each once, and no half contradicts the other");
    assert!(world.plane.cuts().await.unwrap().count > 0.0);
    assert!(world.plane.cpu() > Duration::ZERO && world.plane.cpu_of_threads() > Duration::ZERO);

    let known = world.known();
    assert_eq!(known.len(), 2 * GATEWAYS);
    for one in known {
        let tenant = &world.tenants[one.tenant];
        world.api.ask(tenant, Ask::One(one.run)).await.unwrap();
        let (page, _) = world.api.ask(tenant, Ask::Newest).await.unwrap();
        let page: InvocationPage = serde_json::from_slice(&page).unwrap();
        assert!(page.items.iter().any(|run| run.run == one.run && run.settled && run.flag.is_none()), "{page:?}");
        for ask in [Ask::Before(one.received), Ask::Rare, Ask::ByDay] {
            world.api.ask(tenant, ask).await.unwrap();
        }
    }
    // What comes after another start of the control plane goes on where it was.
    let mut world = world.again(&[]).await.unwrap();
    world.fill(40, Duration::from_secs(60)).await.unwrap();
    assert_eq!(world.told().await.unwrap(), (world.runs, 0));
    world.plane.stop().await.unwrap();
}
