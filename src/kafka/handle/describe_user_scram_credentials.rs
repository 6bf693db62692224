//! DescribeUserScramCredentials (API key 50), version 0: who has credentials for which mechanism (KIP-554).

use super::alter_user_scram_credentials::mechanism_number;
use crate::{
    broker::auth::User,
    kafka::{
        call::Call,
        fault::ErrorCode,
        wire::describe_user_scram_credentials::{
            CredentialInfo, DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
            DescribeUserScramCredentialsResult, UserName,
        },
    },
};

pub async fn handle(
    call: Call,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    if let Err(error) = call.may_administer() {
        return DescribeUserScramCredentialsResponse {
            error_code: error.code(),
            error_message: Some(error.text().to_owned()),
            ..DescribeUserScramCredentialsResponse::default()
        };
    }
    let users = &call.door().broker.users;
    users.scram_made().await;
    let mut results = Vec::new();
    match request.users.filter(|asked| !asked.is_empty()) {
        None => {
            let known = users.all();
            let with_credentials = known.iter().filter(|user| !user.scram.is_empty());
            results.extend(with_credentials.map(|user| described(&user.name, user)));
        }
        Some(asked) => {
            for UserName { name } in &asked {
                if results.iter().any(|r: &DescribeUserScramCredentialsResult| r.user == *name) {
                    continue;
                }
                let found =
                    users.user(call.door().broker.login_name(name).1).filter(|user| !user.scram.is_empty());
                let text = "Cannot describe SCRAM credentials for the same user twice in a single request: ";
                let absent = "Attempt to describe a user credential that does not exist: ";
                results.push(match found {
                    _ if asked.iter().filter(|other| other.name == *name).count() > 1 => {
                        refused(name, ErrorCode::DuplicateResource, text)
                    }
                    Some(user) => described(name, &user),
                    None => refused(name, ErrorCode::ResourceNotFound, absent),
                });
            }
        }
    }
    DescribeUserScramCredentialsResponse {
        error_message: Some(String::new()),
        results,
        ..DescribeUserScramCredentialsResponse::default()
    }
}

fn described(name: &str, user: &User) -> DescribeUserScramCredentialsResult {
    let infos = user.scram.iter().map(|(mechanism, credential)| CredentialInfo {
        mechanism: mechanism_number(*mechanism),
        iterations: i32::try_from(credential.iterations).unwrap_or(i32::MAX),
    });
    DescribeUserScramCredentialsResult {
        user: name.to_owned(),
        error_message: Some(String::new()),
        credential_infos: infos.collect(),
        ..DescribeUserScramCredentialsResult::default()
    }
}

fn refused(name: &str, error: ErrorCode, text: &str) -> DescribeUserScramCredentialsResult {
    DescribeUserScramCredentialsResult {
        user: name.to_owned(),
        error_code: error.code(),
        error_message: Some(format!("{text}{name}")),
        ..DescribeUserScramCredentialsResult::default()
    }
}
