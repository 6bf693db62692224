//! The broker's loggers (config resource BROKER_LOGGER): the levels of its log, until it is started again (KIP-412).

use super::{
    config_changes::{Change, Operation},
    describe_configs::Wanted,
};
use crate::{
    kafka::{
        NODE_ID,
        fault::{ErrorCode, Fault},
        wire::describe_configs::DescribeConfigsResourceResult,
    },
    observe::trace::{self, Level, ROOT},
};

/// `DYNAMIC_BROKER_LOGGER_CONFIG`
const SOURCE: i8 = 6;

/// Every logger with its level.
pub(super) fn all(name: &str, wanted: Wanted) -> Result<Vec<DescribeConfigsResourceResult>, Fault> {
    let refuse = |text| Err(Fault::new(ErrorCode::InvalidRequest, text));
    match name.parse::<i32>() {
        _ if name.is_empty() => refuse("Broker id must not be empty".to_owned()),
        Err(_) => refuse(format!("Broker id must be an integer, but it is: {name}")),
        Ok(NODE_ID) => {
            let logger = |(name, level): (String, Level)| DescribeConfigsResourceResult {
                name,
                value: Some(level.name().to_owned()),
                read_only: false,
                config_source: SOURCE,
                documentation: wanted.documentation.then(String::new),
                ..DescribeConfigsResourceResult::default()
            };
            Ok(trace::loggers().into_iter().map(logger).collect())
        }
        Ok(_) => refuse(format!("Unexpected broker id, expected {NODE_ID} but received {name}")),
    }
}

/// Sets levels, or takes them back.
pub(super) fn change(name: &str, changes: &[&Change], validate_only: bool) -> Result<(), Fault> {
    let refuse = |text| Err(Fault::new(ErrorCode::InvalidRequest, text));
    match name.parse::<i32>() {
        Err(_) => return refuse(format!("Node id must be an integer, but it is: {name}")),
        Ok(NODE_ID) => {}
        Ok(_) => return refuse(format!("Unexpected node id. Expected {NODE_ID}, but received {name}")),
    }
    let known = trace::loggers();
    let levels = changes.iter().map(|change| level(change, &known)).collect::<Result<Vec<_>, _>>()?;
    if !validate_only {
        trace::set_levels(levels);
    }
    Ok(())
}

/// A logger's new level; none: that of the loggers around it.
fn level(change: &Change, known: &[(String, Level)]) -> Result<(String, Option<Level>), Fault> {
    let Change { name, operation, value } = change;
    let invalid = |text| Err(Fault::new(ErrorCode::InvalidConfig, text));
    let refuse = |text: &str| Err(Fault::new(ErrorCode::InvalidRequest, text));
    let is_known = known.iter().any(|(logger, _)| logger == name);
    match operation {
        Operation::Append => refuse("APPEND operation is not allowed for the BROKER_LOGGER resource"),
        Operation::Subtract => refuse("SUBTRACT operation is not allowed for the BROKER_LOGGER resource"),
        Operation::Set | Operation::Delete if !is_known => invalid(format!("Logger {name} does not exist!")),
        Operation::Delete if name == ROOT => {
            refuse("Removing the log level of the root logger is not allowed")
        }
        Operation::Delete => Ok((name.clone(), None)),
        Operation::Set => {
            let value = value.as_deref().unwrap_or_default();
            let Some(level) = Level::named(value) else {
                return invalid(format!(
                    "Cannot set the log level of {name} to {value} as it is not a supported log level. Valid log levels are \
                     DEBUG, ERROR, FATAL, INFO, TRACE, WARN"
                ));
            };
            Ok((name.clone(), Some(level)))
        }
    }
}
