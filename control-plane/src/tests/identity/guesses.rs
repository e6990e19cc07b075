//! Tries that are limited, and what strangers cannot find out by them.

use http::StatusCode;
use protocol::Code;
use serde_json::json;

use crate::tests::harness::{Answer, Ground};

pub(super) async fn guessing_is_slow(ground: Ground) {
    ground.user("ada@example.org", "ada").await;
    let wrong = json!({"email": "ada@example.org", "password": "wrong horse"});
    for _ in 0..ground.app.config.login_failures_max {
        assert_eq!(ground.anonymous().post("/sessions", wrong.clone()).await.code(), Code::InvalidLogin);
    }
    let right = json!({"email": "ada@example.org", "password": "correct horse"});
    let refused = ground.anonymous().post("/sessions", right).await;
    assert_eq!(refused.code(), Code::RateLimited);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 1, "the true time");
    ground.user("bob@example.org", "bob").await;
}

/// Of so many requests at the same moment: those that passed, and how long the others were told to wait.
async fn at_once<F: Future<Output = Answer>>(
    requests: impl Iterator<Item = F>,
    passes: StatusCode,
) -> (usize, Vec<u64>) {
    let answers = futures::future::join_all(requests).await;
    let (passed, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == passes);
    let waits = refused.iter().map(|answer| {
        assert_eq!(answer.code(), Code::RateLimited);
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        let problem: protocol::Problem = answer.read();
        assert!(problem.detail.contains(&format!("wait {wait} s")), "{problem}");
        wait
    });
    (passed.len(), waits.collect())
}

pub(super) async fn a07_guesses_at_an_address(ground: Ground) {
    ground.user("ada@example.org", "ada").await;
    let right = json!({"email": "ada@example.org", "password": "correct horse"});
    let wrong = json!({"email": "ADA@example.org ", "password": "wrong horse"});
    let from = |client: String| ground.anonymous().with("x-forwarded-for", &client);
    let login = from("192.0.2.1".to_owned()).post("/sessions", right.clone()).await;
    let cookies: Vec<_> = login.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    let device = cookies.iter().find(|cookie| cookie.starts_with("cc_device=")).unwrap();
    assert!(device.contains("; HttpOnly; SameSite=Strict; ") && device.contains("; Path=/api/v1;"), "{device}");
    let device = device.split(';').next().unwrap();

    // Many clients at the same moment.
    let tries = (0..60).map(|number| {
        let (client, wrong) = (from(format!("198.51.100.{number}")), wrong.clone());
        async move { client.post("/sessions", wrong).await }
    });
    let (passed, waits) = at_once(tries, StatusCode::UNAUTHORIZED).await;
    assert_eq!(passed, 10);
    assert!(waits.iter().all(|wait| (80..=90).contains(wait)), "15 min for ten: {waits:?}");
    let stranger = from("203.0.113.1".to_owned());
    assert_eq!(stranger.post("/sessions", right.clone()).await.code(), Code::RateLimited);

    // The owner gets in with a device that has been there before, also from the network of who guesses.
    for client in ["192.0.2.1", "198.51.100.1"] {
        let owner = from(client.to_owned()).with("cookie", device);
        for _ in 0..12 {
            assert_eq!(owner.post("/sessions", right.clone()).await.status, StatusCode::CREATED);
        }
    }
    // It has tries of its own, and no more than others.
    let thief = from("203.0.113.2".to_owned()).with("cookie", device);
    let (passed, _) = at_once((0..20).map(|_| thief.post("/sessions", wrong.clone())), StatusCode::UNAUTHORIZED).await;
    assert_eq!(passed, 10);
}

pub(super) async fn a07_guesses_of_a_client(ground: Ground) {
    let client = ground.anonymous().with("x-forwarded-for", "198.51.100.1");
    let guess = |number: usize| json!({"email": format!("user{number}@example.org"), "password": "correct horse"});
    let tries = (0..60).map(|number| {
        let (client, guess) = (client.clone(), guess(number));
        async move { client.post("/sessions", guess).await }
    });
    let (passed, waits) = at_once(tries, StatusCode::UNAUTHORIZED).await;
    assert_eq!(passed, 30);
    assert!(waits.iter().all(|wait| (4..=6).contains(wait)), "ten a minute: {waits:?}");
    let other = ground.anonymous().with("x-forwarded-for", "198.51.100.2");
    assert_eq!(other.post("/sessions", guess(1)).await.code(), Code::InvalidLogin);
    // Who logs in meanwhile makes no room for guesses.
    ground.user("ada@example.org", "ada").await;
    let ada = json!({"email": "ada@example.org", "password": "correct horse"});
    assert_eq!(client.post("/sessions", ada).await.code(), Code::RateLimited);
}

pub(super) async fn a07_changes_of_a_password(ground: Ground) {
    let ada = ground.user("ada@example.org", "ada").await;
    let asked = |current: &str| json!({"current": current, "new": "battery staple"});
    let (passed, waits) =
        at_once((0..30).map(|_| ada.put("/me/password", asked("wrong horse"))), StatusCode::UNAUTHORIZED).await;
    assert_eq!(passed, 10);
    assert!(waits.iter().all(|wait| (80..=90).contains(wait)), "{waits:?}");
    assert_eq!(ada.put("/me/password", asked("correct horse")).await.code(), Code::RateLimited);
    let bob = ground.user("bob@example.org", "bob").await;
    let changed = bob.put("/me/password", asked("correct horse")).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT);
    // The device is known with the new password.
    let device = ground.anonymous().with("cookie", &changed.cookie());
    let wrong = json!({"email": "bob@example.org", "password": "wrong horse"});
    let stranger = ground.anonymous();
    at_once((0..20).map(|_| stranger.post("/sessions", wrong.clone())), StatusCode::UNAUTHORIZED).await;
    let right = json!({"email": "bob@example.org", "password": "battery staple"});
    assert_eq!(ground.anonymous().post("/sessions", right.clone()).await.code(), Code::RateLimited);
    assert_eq!(device.post("/sessions", right).await.status, StatusCode::CREATED);
}

pub(super) async fn a07_sign_ups_of_a_client(ground: Ground) {
    let from = |client: &str| ground.anonymous().with("x-forwarded-for", client);
    let asked =
        |name: String| json!({"email": format!("{name}@example.org"), "password": "correct horse", "account": name});
    let (client, other) = (from("2001:db8::1"), from("2001:db8:0:1::1"));
    let known = asked("known".to_owned());
    assert_eq!(client.post("/signup", known.clone()).await.status, StatusCode::CREATED);
    let tries = (0..60).map(|number| client.post("/signup", asked(format!("user{number}"))));
    let (passed, waits) = at_once(tries, StatusCode::CREATED).await;
    assert_eq!(passed, 19);
    assert!(waits.iter().all(|wait| (1..=6).contains(wait)), "ten a minute: {waits:?}");
    let same = from("2001:db8::ffff:1").post("/signup", asked("same".to_owned())).await;
    assert_eq!(same.code(), Code::RateLimited, "a subscriber has a network of such addresses");
    // Known addresses cannot be asked for any faster.
    let (passed, _) = at_once((0..60).map(|_| other.post("/signup", known.clone())), StatusCode::CONFLICT).await;
    assert_eq!(passed, 20);
}

/// A control plane on the same database that can hash nothing.
async fn unable_to_hash(ground: &Ground) -> Ground {
    Ground::on(ground.app.config.database.clone(), |config| {
        (config.password_hashes_max, config.password_waits_max) = (0, 0);
    })
    .await
}

pub(super) async fn a02_long_addresses(ground: Ground) {
    let unable = unable_to_hash(&ground).await;
    for (length, code) in [(1_000, Code::InvalidLogin), (500_000, Code::BodyTooLarge)] {
        let long = format!("{}@example.org", "a".repeat(length));
        for (email, password) in [(&*long, "correct horse"), ("ada@example.org", &long)] {
            let login = json!({"email": email, "password": password});
            assert_eq!(unable.anonymous().post("/sessions", login).await.code(), code, "at once");
        }
    }
    let odd = json!({"email": "a\u{0}b@example.org", "password": "correct horse"});
    assert_eq!(unable.anonymous().post("/sessions", odd).await.code(), Code::InvalidLogin, "no such user");
    let short = json!({"email": "ada@example.org", "password": "correct horse"});
    assert_eq!(unable.anonymous().post("/sessions", short).await.code(), Code::RateLimited);
    let long = format!("{}@example.org", "a".repeat(1_000));
    let signup = json!({"email": long, "password": "correct horse", "account": "ada"});
    assert_eq!(unable.anonymous().post("/signup", signup).await.code(), Code::InvalidField);
}

pub(super) async fn a13_known_addresses_take_as_long(ground: Ground) {
    ground.user("ada@example.org", "ada").await;
    let unable = unable_to_hash(&ground).await;
    for email in ["ada@example.org", "bob@example.org"] {
        let asked = json!({"email": email, "password": "correct horse", "account": "bob"});
        assert_eq!(
            unable.anonymous().post("/signup", asked).await.code(),
            Code::RateLimited,
            "{email} is hashed first"
        );
    }
}

pub(super) async fn a13_with_mail_a_code_is_asked_for(ground: Ground) {
    ground.user("ada@example.org", "ada").await;
    let mailing = Ground::on(ground.app.config.database.clone(), |config| {
        config.mail.smtp_url = Some("smtp://127.0.0.1:9".parse().unwrap());
        config.mail.mail_from = Some("CrowdCloud <cloud@example.org>".parse().unwrap());
        config.mail.portal_url = Some("https://cloud.example.org".to_owned());
    })
    .await;
    let sign_up = async |email: &str, code: Option<String>| {
        let asked = json!({"email": email, "password": "correct horse", "account": "bob", "code": code});
        mailing.anonymous().post("/signup", asked).await
    };
    let told = |answer: &Answer| {
        let problem: protocol::Problem = answer.read();
        (answer.status, problem.code, problem.field, problem.detail)
    };
    let known = told(&sign_up("ada@example.org", None).await);
    assert_eq!(known.1, Code::EmailCodeNeeded);
    assert_eq!(known, told(&sign_up("bob@example.org", None).await), "nobody learns who is there");
    let wrong = told(&sign_up("bob@example.org", Some("AAAA-AAAA".to_owned())).await);
    assert_eq!((wrong.1, wrong.2.unwrap().as_str()), (Code::EmailCodeNeeded, "code"));
    let code = |email: &str| Some(mailing.app.resets.code_for(email));
    let others = sign_up("bob@example.org", code("eve@example.org")).await;
    assert_eq!(others.code(), Code::EmailCodeNeeded);
    let made = sign_up("BOB@example.org ", code("bob@example.org").map(|code| code.to_lowercase())).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    // Whoever reads the mails may know.
    assert_eq!(sign_up("ada@example.org", code("ada@example.org")).await.code(), Code::EmailTaken);
    // An address gets so many mails, whoever has it.
    for email in ["ada@example.org", "carol@example.org"] {
        let mut passed = 0;
        while sign_up(email, None).await.code() == Code::EmailCodeNeeded {
            passed += 1;
        }
        let sent_before = u32::from(email.starts_with("ada"));
        assert_eq!(passed + sent_before, mailing.app.config.mail.resets_max, "{email}");
    }
}
