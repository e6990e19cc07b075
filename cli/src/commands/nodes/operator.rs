//! Who asks of nodes: an account, by its key, or the operator, who logs in for it. A key never acts as the operator: it is
//! an account's, and lies about in files.

use crate::args::{AsOperator, Credentials};
use crate::client::Client;
use crate::commands::login::log_in;
use crate::context::Context;
use crate::failure::{Exit, Failure};

/// Who asks. What a log-in began for it ends with `end`.
pub(in crate::commands) struct Asking {
    pub(in crate::commands) client: Client,
    logged_in: bool,
}

impl Asking {
    /// The account, or the operator where that is said.
    pub(super) async fn of(context: &Context, who: AsOperator) -> Result<Self, Failure> {
        if who.as_operator {
            return Self::operator(context, who.credentials).await;
        }
        let Credentials { email, password, code } = &who.credentials;
        if email.is_some() || code.is_some() || password.password_stdin || password.password_file.is_some() {
            return Err(Failure::usage("A log-in is for the operator here").help("add --as-operator"));
        }
        Ok(Self { client: context.client()?, logged_in: false })
    }

    /// The operator.
    pub(in crate::commands) async fn operator(context: &Context, credentials: Credentials) -> Result<Self, Failure> {
        let (me, session) = log_in(context, credentials).await?;
        let first = me.accounts.first().map(|membership| membership.account.name.as_str());
        // Which of their accounts does not matter; some account does.
        let client = match context.wanted_account().or(first) {
            Some(account) => session.acting_for(account),
            None => session,
        };
        let asking = Self { client, logged_in: true };
        if me.user.is_some_and(|user| user.operator) {
            return Ok(asking);
        }
        let refused = Failure::new(Exit::Authentication, "forbidden", "You are not this platform's operator");
        asking.end(Err(refused.help("log in as the user who signed up with the operator's link"))).await
    }

    /// Ends the log-in; the result is what it was.
    pub(in crate::commands) async fn end<T>(self, done: Result<T, Failure>) -> Result<T, Failure> {
        if self.logged_in {
            drop(self.client.delete("/sessions/current").await);
        }
        done
    }
}
