"""The netns provider: a real Kubernetes whose Nodes are Linux namespaces."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from . import addons, containerd, fabric, kubeconfig, packages, state, sweep, sysctls
from .api import Api
from .birth import Birth, Materials
from .build import build_all
from .component import COMPONENTS, NODE_VERSIONS
from .config import ClusterSpec, require_netns
from .errors import ClusterExistsError, LocalClusterError
from .images import build_images

if TYPE_CHECKING:
    from pathlib import Path

    from .progress import Progress


def prepare(
    progress: Progress, spec: ClusterSpec | None, *, install_packages: bool
) -> Materials:
    """Build and collect all that a cluster is made of; without a spec, that any is."""
    chosen = addons.all_of(spec) if spec else []
    wanted = [*COMPONENTS, *addons.components_of(chosen)]
    if spec:
        wanted.append(NODE_VERSIONS[spec.node_version])
    packages.require_machine()
    packages.require(
        (*packages.PROGRAMS, *addons.programs_of(chosen)),
        install=install_packages,
        say=progress.stage,
    )
    binaries = build_all(progress, tuple(dict.fromkeys(wanted)))
    images = build_images(binaries, progress, addons.images_of(chosen, binaries))
    store = containerd.image_store(images, progress)
    return Materials(binaries, containerd.version(), images, store)


def up(
    spec: ClusterSpec,
    progress: Progress,
    *,
    install_packages: bool,
    merge_into: Path | None,
    retain: bool,
) -> state.ClusterRecord:
    """Make a cluster; on any failure or interruption leave nothing of it."""
    require_netns(spec, state.MOST_NODES)
    packages.require_machine()
    packages.require_families(spec.families)
    _refuse_existing(spec.name)
    materials = prepare(progress, spec, install_packages=install_packages)
    try:
        record = _claim(spec, merge_into or kubeconfig.default_file())
        return Birth(spec, record, materials, progress).run()
    except ClusterExistsError:
        raise
    except OSError as error:
        # The API server went away, the disk is full: not a bug of ours.
        failure = LocalClusterError(f"the cluster could not be made: {error}")
        _give_up(spec.name, failure, retain=retain)
        raise failure from error
    except BaseException as error:
        _give_up(spec.name, error, retain=retain)
        raise


def _give_up(name: str, error: BaseException, *, retain: bool) -> None:
    """Remove what there is of a cluster, and note on the error where its logs are."""
    holder = state.load(name)
    if holder is not None and holder.owner != state.this_process():
        # Removed under our hands, and made again: what is there is not ours.
        return
    logs = sweep.save_logs(name)
    if logs:
        error.add_note(f"logs of the cluster are in {logs}")
    if retain:
        error.add_note(
            "what there is of the cluster was kept; remove it with "
            f"`k8snet cluster down {name}`"
        )
    else:
        sweep.sweep(name)


def _refuse_existing(name: str) -> None:
    record = state.load(name)
    if record is None:
        if sweep.exists(name):
            sweep.sweep(name)
        return
    if not record.running and state.alive(record.owner):
        pid = record.owner.partition(":")[0]
        raise ClusterExistsError(
            f'the cluster "{name}" is just being made by process {pid}; wait for it, '
            "or give this one another --name"
        )
    if record.running and healthy(record):
        raise ClusterExistsError(
            f'node(s) already exist for a cluster with the name "{name}"; remove it '
            f"with `k8snet cluster down {name}`, or give this one another --name"
        )
    # Left by an `up` that was killed, or from before the machine was restarted.
    sweep.sweep(name)


def healthy(record: state.ClusterRecord) -> bool:
    """Say whether a cluster's API server answers."""
    try:
        return Api(record.server, record.folder / "pki").ready()
    except OSError:
        return False


def _claim(spec: ClusterSpec, merge_into: Path) -> state.ClusterRecord:
    """Choose the cluster's place on this machine, and write it down first of all."""
    with state.locked():
        if state.load(spec.name) is not None:
            raise ClusterExistsError(
                f'the cluster "{spec.name}" was made by somebody else at the same time'
            )
        avoid = [
            *map(fabric.network, spec.pod_subnets),
            *map(fabric.network, spec.service_subnets),
        ]
        record = state.ClusterRecord(
            name=spec.name,
            index=fabric.free_index(avoid),
            families=spec.families,
            nodes=(),
            owner=state.this_process(),
            kubeconfig=str(merge_into.absolute()),
            service_proxy=spec.proxy_mode != "none",
            features=tuple(map(str, spec.features)),
        )
        places = tuple(
            state.NodeRecord(
                **vars(node),
                host=host,
                addresses=record.addresses(host),
            )
            for host, node in enumerate(spec.nodes, state.FIRST_NODE_HOST)
        )
        record = replace(record, nodes=places)
        record.save()
        sysctls.raise_limits()
    return record
