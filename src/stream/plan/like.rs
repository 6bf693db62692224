//! `CREATE TABLE … LIKE base`: the definition that comes of both, with Flink's words where they do not go together.
//! (Flink: MergeTableLikeUtil)

use super::catalog::{Catalog, Object};
use crate::stream::sql::{
    SqlError,
    ast::{ColumnDef, ColumnKind, CreateTable, Elements, Feature, Name, OptionDef, Strategy},
};

type Result<T> = std::result::Result<T, SqlError>;

/// What holds for a part of the table: its own choice, that for ALL, or Flink's default.
fn strategy(choices: &[(Strategy, Feature)], feature: Feature) -> Strategy {
    let of = |feature: Feature| choices.iter().find(|(_, f)| *f == feature).map(|(strategy, _)| *strategy);
    let own = if feature == Feature::Options { Strategy::Overwriting } else { Strategy::Including };
    of(feature).or_else(|| of(Feature::All)).unwrap_or(own)
}

/// The definition with what it takes from the base table.
pub(super) fn merged(
    catalog: &Catalog,
    own: &CreateTable,
    base: &Name,
    choices: &[(Strategy, Feature)],
) -> Result<CreateTable> {
    let base = match catalog.find(base) {
        Ok(Object::Table(_, definition)) => definition,
        Ok(Object::View(_)) | Err(_) => {
            let path = catalog.path(base)?.quoted();
            let message = format!(
                "Source table '{path}' of the LIKE clause not found in the catalog, at line {}, column {}",
                base.at.line, base.at.column
            );
            return Err(SqlError::invalid(base.at, message));
        }
    };
    let of = |feature: Feature| strategy(choices, feature);
    let mut table = own.clone();
    table.elements = elements(&base.elements, &own.elements, of)?;
    table.options = options(&base.options, &own.options, of(Feature::Options))?;
    if own.options.is_empty() {
        table.options_at = own.name.at;
    }
    match (own.partitioned_by.first(), base.partitioned_by.is_empty(), of(Feature::Partitions)) {
        (Some((_, at)), false, Strategy::Including) => {
            let message = "The base table already has partitions defined. You might want to specify EXCLUDING PARTITIONS.";
            return Err(SqlError::invalid(*at, message));
        }
        // Flink keeps the base's with EXCLUDING, too, unless there are others.
        (None, ..) => table.partitioned_by.clone_from(&base.partitioned_by),
        (Some(_), ..) => {}
    }
    Ok(table)
}

fn elements(base: &Elements, own: &Elements, of: impl Fn(Feature) -> Strategy) -> Result<Elements> {
    let excluded = |feature: Feature| of(feature) == Strategy::Excluding;
    let mut merged = Elements::default();
    let kept = base.columns.iter().filter(|column| match column.kind {
        ColumnKind::Computed(_) => !excluded(Feature::Generated),
        ColumnKind::Metadata { .. } => !excluded(Feature::Metadata),
        ColumnKind::Physical(_) => true,
    });
    merged.columns = kept.cloned().collect();
    let inherited = merged.columns.len();
    for column in &own.columns {
        let place = merged.columns.iter().take(inherited).position(|before| before.name == column.name);
        match place.and_then(|place| merged.columns.get_mut(place)) {
            None => merged.columns.push(column.clone()),
            Some(before) => {
                overwrites(before, column, &of)?;
                *before = column.clone();
            }
        }
    }
    merged.watermark = base.watermark.clone().filter(|_| !excluded(Feature::Watermarks));
    if let Some(watermark) = &own.watermark {
        let same = merged.watermark.as_ref().is_some_and(|before| before.column == watermark.column);
        if same && of(Feature::Watermarks) != Strategy::Overwriting {
            let message = format!(
                "There already exists a watermark spec for column '{}' in the base table. You might want to specify \
                 EXCLUDING WATERMARKS or OVERWRITING WATERMARKS.",
                watermark.column
            );
            return Err(SqlError::invalid(watermark.at, message));
        }
        merged.watermark = Some(watermark.clone());
    }
    let key = if excluded(Feature::Constraints) { &[] } else { base.primary_key.as_slice() };
    match (key, own.primary_key.first()) {
        ([_, ..], Some((_, at))) => {
            let message =
                "The base table already has a primary key. You might want to specify EXCLUDING CONSTRAINTS.";
            return Err(SqlError::invalid(*at, message));
        }
        ([_, ..], None) => {
            merged.primary_key = key.to_vec();
            merged.constraint.clone_from(&base.constraint);
        }
        ([], _) => {
            merged.primary_key.clone_from(&own.primary_key);
            merged.constraint.clone_from(&own.constraint);
        }
    }
    Ok(merged)
}

/// Whether a column may take the place of one that the base table has.
fn overwrites(before: &ColumnDef, column: &ColumnDef, of: impl Fn(Feature) -> Strategy) -> Result<()> {
    let name = &column.name;
    let refused = |message: String| Err(SqlError::invalid(column.at, message));
    let twice = |kind: &str| {
        refused(format!(
            "A column named '{name}' already exists in the table. Duplicate columns exist in the {kind} column and \
             regular column. "
        ))
    };
    let exists = |kind: &str, feature: Feature, word: &str| match of(feature) {
        Strategy::Overwriting => Ok(()),
        Strategy::Excluding | Strategy::Including => refused(format!(
            "A {kind} column named '{name}' already exists in the base table. You might want to specify EXCLUDING \
             {word} or OVERWRITING {word}."
        )),
    };
    match (&before.kind, &column.kind) {
        (_, ColumnKind::Physical(_)) => {
            refused(format!("A column named '{name}' already exists in the base table."))
        }
        (ColumnKind::Physical(_), ColumnKind::Computed(_)) => twice("compute"),
        (ColumnKind::Physical(_), ColumnKind::Metadata { .. }) => twice("metadata"),
        (ColumnKind::Computed(_), ColumnKind::Computed(_)) => {
            exists("generated", Feature::Generated, "GENERATED")
        }
        (ColumnKind::Metadata { .. }, ColumnKind::Metadata { .. }) => {
            exists("metadata", Feature::Metadata, "METADATA")
        }
        (ColumnKind::Metadata { .. }, ColumnKind::Computed(_)) => refused(format!(
            "A column named '{name}' already exists in the base table. Computed columns can only overwrite other \
             computed columns."
        )),
        (ColumnKind::Computed(_), ColumnKind::Metadata { .. }) => refused(format!(
            "A column named '{name}' already exists in the base table. Metadata columns can only overwrite other \
             metadata columns."
        )),
    }
}

fn options(base: &[OptionDef], own: &[OptionDef], strategy: Strategy) -> Result<Vec<OptionDef>> {
    let mut merged: Vec<OptionDef> = match strategy {
        Strategy::Excluding => Vec::new(),
        Strategy::Including | Strategy::Overwriting => base.to_vec(),
    };
    for option in own {
        let before = merged.iter_mut().find(|before| before.key == option.key);
        match before {
            Some(before) if strategy == Strategy::Including => {
                let message = format!(
                    "There already exists an option ['{}' -> '{}']  in the base table. You might want to specify \
                     EXCLUDING OPTIONS or OVERWRITING OPTIONS.",
                    before.key, before.value
                );
                return Err(SqlError::invalid(option.at, message));
            }
            Some(before) => *before = option.clone(),
            None => merged.push(option.clone()),
        }
    }
    Ok(merged)
}
