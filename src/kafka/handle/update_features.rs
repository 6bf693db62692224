//! UpdateFeatures (API key 57), versions 0–2: what is finalized stays so; one level is all that is supported.

use crate::kafka::{
    NODE_ID,
    call::Call,
    fault::ErrorCode,
    features::FEATURES,
    wire::update_features::{
        FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
    },
};

/// Upgrade, safe downgrade, unsafe downgrade.
const UPGRADE_TYPES: std::ops::RangeInclusive<i8> = 1..=3;
const RESULTS_TO: i16 = 1;

pub async fn handle(call: Call, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    for update in &request.feature_updates {
        if let Err(why) = check(update) {
            let text = format!(
                "The update failed for all features since the following feature had an error: Invalid update version {} \
                 for feature {}. {why}",
                update.max_version_level, update.feature
            );
            return UpdateFeaturesResponse {
                error_code: ErrorCode::FeatureUpdateFailed.code(),
                error_message: Some(text),
                ..UpdateFeaturesResponse::default()
            };
        }
    }
    let done = |update: FeatureUpdateKey| UpdatableFeatureResult {
        feature: update.feature,
        error_code: ErrorCode::None.code(),
        error_message: Some(ErrorCode::None.name().to_owned()),
    };
    let results =
        request.feature_updates.into_iter().filter(|_| call.version <= RESULTS_TO).map(done).collect();
    UpdateFeaturesResponse { results, ..UpdateFeaturesResponse::default() }
}

/// In Kafka's order.
fn check(update: &FeatureUpdateKey) -> Result<(), String> {
    let Some(feature) = FEATURES.iter().find(|feature| feature.name == update.feature) else {
        return Err(format!("Local controller {NODE_ID} does not support this feature."));
    };
    if !UPGRADE_TYPES.contains(&update.upgrade_type) {
        return Err("The controller does not support the given upgrade type.".to_owned());
    }
    let level = update.max_version_level;
    if level < 0 {
        return Err("A feature version cannot be less than 0.".to_owned());
    }
    if level != feature.level {
        let only = feature.level;
        return Err(format!("Local controller {NODE_ID} only supports versions {only}-{only}"));
    }
    Ok(())
}
