//! AlterUserScramCredentials (API key 51), version 0: sets and deletes what logins with SCRAM are checked against
//! (KIP-554).
//!
//! Users are the broker's. One that is not there yet is made, as `kafka-configs` expects it: without a password, so that
//! the other doors do not let it in, and with all permissions in the vhost that its name says.

use std::collections::BTreeMap;

use crate::{
    broker::{
        Pending,
        auth::{
            Password, Permissions, User,
            scram::{ITERATIONS_MAX, ITERATIONS_MIN, ScramCredential, ScramMechanism},
        },
        events::text,
    },
    kafka::{
        call::Call,
        fault::{ErrorCode, Fault},
        wire::alter_user_scram_credentials::{
            AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse,
            AlterUserScramCredentialsResult, ScramCredentialDeletion, ScramCredentialUpsertion,
        },
    },
};

const MECHANISMS: &[(i8, ScramMechanism)] = &[(1, ScramMechanism::Sha256), (2, ScramMechanism::Sha512)];

/// `ScramMechanism` in Kafka.
pub(super) fn mechanism_number(mechanism: ScramMechanism) -> i8 {
    MECHANISMS.iter().find(|(_, m)| *m == mechanism).map_or(0, |(number, _)| *number)
}

enum Alteration {
    Delete(ScramMechanism),
    Set(ScramMechanism, ScramCredential),
}

pub async fn handle(
    call: Call,
    request: AlterUserScramCredentialsRequest,
) -> AlterUserScramCredentialsResponse {
    let mut outcomes = alterations(&call, request);
    if let Err(error) = call.may_administer() {
        outcomes.values_mut().for_each(|outcome| *outcome = Err(error.into()));
    }
    let (mut results, mut pending) = (Vec::with_capacity(outcomes.len()), None);
    for (name, outcome) in outcomes {
        let outcome = outcome.map(|alteration| apply(&call, &name, alteration, &mut pending));
        results.push((name, outcome));
    }
    let durable = call.durable(pending).await;
    let result = |(user, outcome): (String, Result<(), Fault>)| {
        let failed = outcome.and_then(|()| durable.map_err(Fault::from)).err();
        AlterUserScramCredentialsResult {
            user,
            error_code: failed.as_ref().map_or(ErrorCode::None, |fault| fault.code).code(),
            error_message: failed.map(|fault| fault.message),
        }
    };
    AlterUserScramCredentialsResponse {
        results: results.into_iter().map(result).collect(),
        ..AlterUserScramCredentialsResponse::default()
    }
}

/// What becomes of each user; one that is named twice is left alone.
fn alterations(
    call: &Call,
    request: AlterUserScramCredentialsRequest,
) -> BTreeMap<String, Result<Alteration, Fault>> {
    let mut outcomes = BTreeMap::new();
    let mut alter = |name: String, alteration: &dyn Fn(&str) -> Result<Alteration, Fault>| {
        let outcome = match outcomes.get(&name) {
            None => alteration(&name),
            Some(Ok(_)) => Err(Fault::new(
                ErrorCode::DuplicateResource,
                "A user credential cannot be altered twice in the same request",
            )),
            Some(Err(_)) => return,
        };
        outcomes.insert(name, outcome);
    };
    for ScramCredentialDeletion { name, mechanism } in request.deletions {
        alter(name, &|name| deletion(call, name, mechanism));
    }
    for ScramCredentialUpsertion { name, mechanism, iterations, salt, salted_password } in request.upsertions
    {
        alter(name, &|name| upsertion(call, name, mechanism, iterations, &salt, &salted_password));
    }
    outcomes
}

fn deletion(call: &Call, name: &str, mechanism: i8) -> Result<Alteration, Fault> {
    let broker = &call.door().broker;
    let (_, user) = broker.login_name(name);
    let mechanism = mechanism_of(user, mechanism)?;
    let user = broker.users.user(user);
    if user.is_some_and(|user| user.scram.contains_key(&mechanism)) {
        return Ok(Alteration::Delete(mechanism));
    }
    let text = "Attempt to delete a user credential that does not exist";
    Err(Fault::new(ErrorCode::ResourceNotFound, text))
}

fn upsertion(
    call: &Call,
    name: &str,
    mechanism: i8,
    iterations: i32,
    salt: &[u8],
    salted_password: &[u8],
) -> Result<Alteration, Fault> {
    let unacceptable = |text: String| Err(Fault::new(ErrorCode::UnacceptableCredential, text));
    let broker = &call.door().broker;
    let (vhost, user) = broker.login_name(name);
    let mechanism = mechanism_of(user, mechanism)?;
    let iterations = match u32::try_from(iterations) {
        Ok(n @ ITERATIONS_MIN..=ITERATIONS_MAX) => n,
        Ok(n) if n > ITERATIONS_MAX => return unacceptable("Too many iterations".to_owned()),
        Ok(_) | Err(_) => return unacceptable("Too few iterations".to_owned()),
    };
    if broker.vhost(vhost).is_err() {
        return unacceptable(format!("There is no vhost '{vhost}'"));
    }
    let credential = ScramCredential::salted(mechanism, salt, iterations, salted_password);
    Ok(Alteration::Set(mechanism, credential))
}

fn mechanism_of(user: &str, number: i8) -> Result<ScramMechanism, Fault> {
    if user.is_empty() {
        return Err(Fault::new(ErrorCode::UnacceptableCredential, "Username must not be empty"));
    }
    let known = MECHANISMS.iter().find(|(n, _)| *n == number).map(|(_, mechanism)| *mechanism);
    known.ok_or_else(|| Fault::new(ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism"))
}

fn apply(call: &Call, name: &str, alteration: Alteration, pending: &mut Pending) {
    let broker = &call.door().broker;
    let (vhost, name) = broker.login_name(name);
    let mut alteration = Some(alteration);
    let mut alter = |user: &mut User| {
        match alteration.take() {
            Some(Alteration::Delete(mechanism)) => user.scram.remove(&mechanism),
            Some(Alteration::Set(mechanism, credential)) => user.scram.insert(mechanism, credential),
            None => None,
        };
    };
    let ticket = match broker.users.change(&broker.core.store, name, &mut alter) {
        Some(((), ticket)) => ticket,
        None => {
            let mut user =
                User::with_hash(name, Password::none()).with_permissions(vhost, Permissions::full());
            alter(&mut user);
            let (_, ticket) = broker.users.set(&broker.core.store, user);
            broker.tell("user.created", || vec![("name", text(name))]);
            ticket
        }
    };
    *pending = (*pending).max(Some(ticket));
}
