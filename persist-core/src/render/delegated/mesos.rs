//! A `Volume` of Apache Mesos that a Docker volume driver mounts.

use super::{Delegated, Driver, check_ids_as_stored, check_label_as_is, check_propagation_unset};
use crate::{
    error::Result,
    render::{
        Mode as Wanted, RenderOptions, WorkloadPath,
        mesos::{DockerVolume, Mode, Parameter, Parameters, Volume, VolumeSource},
    },
};

const TARGET: &str = "Mesos volume";

/// The entry of `ContainerInfo.volumes` that shows `source` at `target`.
///
/// # Errors
/// `Unsupported` for ids, labels and propagation.
pub fn driver(source: &Driver, target: &WorkloadPath, options: &RenderOptions) -> Result<Delegated<Volume>> {
    check_ids_as_stored(TARGET, options)?;
    check_label_as_is(TARGET, options)?;
    check_propagation_unset(TARGET, options.propagation)?;
    let parameter = |(key, value): (&String, &String)| Parameter { key: key.clone(), value: value.clone() };
    let parameters: Vec<_> = source.options.iter().map(parameter).collect();
    let docker_volume = DockerVolume {
        driver: source.driver.clone(),
        name: source.name.clone(),
        driver_options: (!parameters.is_empty()).then_some(Parameters { parameter: parameters }),
    };
    let mode = if options.mode == Wanted::ReadOnly { Mode::ReadOnly } else { Mode::ReadWrite };
    let source = VolumeSource::DockerVolume { docker_volume };
    Ok(Delegated::new(Volume { container_path: target.clone(), mode, source }))
}
