//! Joining: the platform proves that it is the token's, says what comes of the token, and is believed where its key has
//! signed that. Then this machine says what it will lend, asks, and spends the token.

use executor::NodeKeys;
use protocol::node::{Admission, JoinToken, NodeWant, Nonce, PublicKey, TokenQuery, TokenTerms, printable};
use protocol::signed::Signed;
use protocol::{Code, NodeId};

use super::agreed::Agreed;
use super::folder::{Folder, Lent};
use super::reach::Reach;
use super::{config, terms, unsigned};
use crate::args::LendStart;
use crate::authorities::Authorities;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::prompt;

/// The token, as it was pasted.
pub(super) fn token(text: &str) -> Result<JoinToken, Failure> {
    text.parse::<JoinToken>()
        .map_err(|why| Failure::usage("The token cannot be used").why(why).help("paste its line whole"))
}

/// Says what will be lent, asks, and spends the token.
pub(super) async fn join(
    output: &Output,
    start: &LendStart,
    folder: &Folder,
    keys: &NodeKeys,
    (token, authorities): (JoinToken, &Authorities),
) -> Result<Lent, Failure> {
    let reach = Reach::new(&token.origin, token.root, start.behind_proxy, authorities.clone())?;
    let (client, platform) = reach.platform().await?;
    let terms = look(&client, &token, keys, &platform.registrar).await?;
    let config = config(start, folder, NodeId::new(), token.root)?;
    output.note(terms::text(&token, &terms, &config));
    prompt::confirm(output, "Lend this machine")?;
    let name = terms.name.unwrap_or_else(|| config.name.clone());
    let asked = keys
        .register(executor::probe(&config), token.id, &token.seed, executor::machine(&config))
        .map_err(|why| unsigned(&why))?;
    let admission: Signed = client.post("/nodes/register", &asked).await?;
    let lent = Lent {
        origin: token.origin,
        root: token.root,
        behind_proxy: start.behind_proxy,
        authorities: authorities.clone(),
        registrar: platform.registrar,
        agreed: Some(Agreed::of(start)),
        shut_out: None,
        asks_again: None,
        admission,
        token: Some(token.id),
        name: Some(printable(&name)),
    };
    lent.told(keys)?;
    folder.keep(&lent)?;
    Ok(lent)
}

/// Makes room for another token's node where the folder's own has left the platform; refuses where it has not.
pub(super) async fn clear_left(output: &Output, lent: &Lent, folder: &Folder, keys: &NodeKeys) -> Result<(), Failure> {
    let Admission { node, account, .. } = lent.told(keys)?;
    let asked = keys.ask(node, NodeWant::Renewal).map_err(|why| unsigned(&why))?;
    let renewing = async {
        let (client, _) = lent.reach()?.platform().await?;
        client.post::<Signed>("/nodes/renew", &asked).await
    };
    let data = folder.path().display();
    let unknown = match renewing.await {
        Err(failure) if failure.is(Code::NodeLeft) => {
            output.note(format!("{node} has left {}: its keys and its cache in {data} are deleted", lent.origin));
            return folder.clear();
        }
        Err(failure) => format!("; whether it has left is not known: {}", failure.what()),
        Ok(_) => String::new(),
    };
    let account = account.map_or(String::new(), |account| format!(" for {account}"));
    Err(Failure::new(Exit::Conflict, "data", format!("{data} is another node's"))
        .why(format!("it has joined {} as {node}{account}, with another token{unknown}", lent.origin))
        .help(format!(
            "to go on as that node, leave --token out; to join as a new one, name another folder with --data DIR, or \
             end that one first: crowdcloud lend leave --data {data}"
        )))
}

/// What comes of the token. It is not spent.
async fn look(
    client: &Client,
    token: &JoinToken,
    keys: &NodeKeys,
    registrar: &PublicKey,
) -> Result<TokenTerms, Failure> {
    let query = TokenQuery { token: token.id, keys: keys.public(), nonce: Nonce(rand::random()) };
    let asked = executor::look(&query, &token.seed).map_err(|why| unsigned(&why))?;
    let terms: Signed = client.post("/nodes/tokens/look", &asked).await?;
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::new(Exit::Authentication, "token_terms", "What the platform says of the token cannot be believed")
            .why(why)
    };
    let terms: TokenTerms = terms.open(registrar).map_err(|why| wrong(&why))?;
    if terms.nonce != query.nonce {
        return Err(wrong(&"it was said to somebody else"));
    }
    Ok(terms)
}
