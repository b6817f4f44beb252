"""Several modules in one file, for boards: what is loaded together, and let go of together, is one
module there.

A file costs a block of flash, and its module a dictionary, tables of names and constants, its own
names and those of all that it imports. So the modules of a line of BUNDLES become one, under the
name of the first of them. Each of their own names becomes one that no other module of the program
defines; imports between them vanish; imports of them, anywhere in the program, name the bundle. A
package without code of its own needs no file. The code does the same: nothing in it may depend on a
module as an object, and what does is refused here.
"""

import ast
from collections.abc import Mapping

from agent.runtime.unload import ONCE
from firmware.build.minify.program import BundleError, Module, Program, Target
from firmware.build.minify.rewriting import Rewrite
from firmware.build.syntax import walk

# The first of a line is what the bundle is called. What code of others than the build looks for
# (firmware/build/keep.py) must come first. What a board lets go of is in agent/runtime/unload.py,
# with what is let go of together in a line: those are bundles, too.
STAY = """
agent.runtime.flash.store agent.runtime.system.ticks agent.runtime.system.clock agent.runtime.flash.masks \
    agent.runtime.flash.shares agent.runtime.flash.slots \
    agent.runtime.system.diagnostics agent.runtime.unload agent.wire.cbor agent.wire.topics \
    agent.wire.messages agent.wire.envelope agent.crypto agent.crypto.octets \
    agent.crypto.hmac agent.crypto.aes_ccm agent.crypto.accelerate \
    agent.crypto.p256_table agent.protocols agent.protocols.base \
    agent.protocols.base.actions agent.protocols.base.identity \
    agent.protocols.base.machine
agent.runtime.supervisor agent.runtime.effects agent.runtime.schedule agent.runtime.upkeep \
    agent.runtime.net.mqtt agent.runtime.net.mqtt_packets agent.runtime.net.mqtt_decoder agent.runtime.net.mqtt_incoming \
    agent.runtime.net.mqtt_socket agent.runtime.net.mqtt_receipt agent.runtime.net.mqtt_link
agent.runtime.main agent.runtime.update.updater agent.runtime.update.versions \
    agent.runtime.system.watchdog agent.runtime.net.reach
agent.meters.register agent.meters.account agent.meters.bookmark
agent.meters.uart.port agent.meters.uart.telegram
agent.meters.p1_port agent.meters.dsmr agent.meters.dsmr_frames
agent.meters.sml.port agent.meters.sml.frames agent.meters.sml.messages
agent.meters.s0_pin agent.meters.pulse
agent.protocols.private_sum.machine agent.protocols.private_sum.standing \
    agent.protocols.private_sum.contributing agent.protocols.private_sum.active_sets \
    agent.protocols.private_sum.unmasking agent.protocols.private_sum.membership \
    agent.crypto.residue agent.joye_libert.parameters agent.joye_libert.packing \
    agent.joye_libert.blinding agent.joye_libert.pairs agent.joye_libert.masks
agent.protocols.gossip.machine agent.wire.queries agent.protocols.gossip.group \
    agent.protocols.gossip.pair_keys agent.protocols.gossip.mail agent.protocols.gossip.onion.onion \
    agent.crypto.p256_compressed agent.protocols.gossip.functions \
    agent.protocols.gossip.query_function agent.protocols.gossip.phases.catalogue \
    agent.protocols.gossip.plan agent.protocols.gossip.overlay.sizes \
    agent.protocols.gossip.onion.secrets agent.protocols.gossip.onion.tuples \
    agent.protocols.gossip.overlay.routes agent.protocols.gossip.onion.peeling agent.protocols.gossip.phases.shuffle \
    agent.protocols.gossip.stock agent.protocols.gossip.phases.tree \
    agent.protocols.gossip.phases.routed_cells agent.protocols.gossip.phases.echo \
    agent.protocols.gossip.node_actions agent.protocols.gossip.node agent.protocols.gossip.inquiry \
    agent.protocols.gossip.admission
agent.runtime.burning agent.protocols.gossip.privacy.budget
agent.protocols.gossip.privacy.terms agent.protocols.gossip.privacy.laplace \
    agent.protocols.gossip.privacy.paired_noise
agent.protocols.private_sum.secret_sharing agent.protocols.private_sum.mail
"""
BUNDLES = tuple(tuple(line.split()) for line in (STAY + ONCE).splitlines() if line)


def bundle(
    trees: Mapping[str, ast.Module], kept: set[str], bundles: tuple[tuple[str, ...], ...] = BUNDLES
) -> dict[str, ast.Module]:
    """Return the modules that `trees`, by path, become, by path: those of `bundles`, and the
    others, which import from them.

    What is in `kept` and in the first module of a bundle, or in a module of its own, keeps its
    name. Raises BundleError.
    """
    program = Program(trees, bundles, kept)
    members: dict[str, list[Module]] = {}
    lines = {line[0]: line for line in program.lines}
    for module in program.modules.values():
        if module.head not in members:
            members[module.head] = []
            for name in lines.get(module.head, [module.name]):
                _append(program, program.modules[name], members[module.head])
    made = {}
    loads = {}
    for head, modules in members.items():
        made[head], loads[head] = _join(program, head, modules)
    _check_order(loads)
    for tree in made.values():
        _name_heads(tree, program)
    return {program.modules[head].path: tree for head, tree in made.items() if tree.body}


def _name_heads(tree: ast.Module, program: Program) -> None:
    """Leave in the text of what is let go of only names of modules that there are: each bundle's
    first."""
    heads = dict.fromkeys(program.modules[name].head for name in ONCE.split() if name in program.modules)
    for node in walk(tree):
        if isinstance(node, ast.Constant) and node.value == ONCE:
            node.value = " ".join(heads)


def _append(program: Program, module: Module, members: list[Module]) -> None:
    """Append the module to the bundle's members, after those that it loads. Raises BundleError."""
    if module in members:
        return
    for name in module.loads:
        if program.modules[name].head == module.head and name != module.name:
            _append(program, program.modules[name], members)
    members.append(module)


def _join(program: Program, head: str, members: list[Module]) -> tuple[ast.Module, list[str]]:
    """Return the bundle of `members`, and the bundles that it loads when it is loaded."""
    outside: dict[str, ast.stmt] = {}
    body: list[ast.stmt] = []
    needs: set[Target] = set()
    loads: dict[str, None] = {}
    for module in members:
        rewrite = Rewrite(program, module)
        for node in module.body:
            found = rewrite.visit(node)
            body += found if isinstance(found, list) else [found] if found else []
        needs |= rewrite.needs
        loads |= dict.fromkeys(program.modules[name].head for name in module.loads)
        for name, one in module.outside.items():
            if name in outside and ast.dump(outside[name]) != ast.dump(one):
                raise BundleError(f"{module.path} calls something else {name} than the modules beside it")
            outside[name] = one
    loads |= dict.fromkeys(program.head(target) for target in needs)
    loads = {name: None for name in loads if name != head and program.modules[name].body}
    imports: list[ast.stmt] = []
    for other in loads:
        names = sorted(program.unique[target] for target in needs if program.head(target) == other)
        imports.append(
            ast.ImportFrom(other, [ast.alias(name) for name in names], 0) if names else ast.Import([ast.alias(other)])
        )
    return ast.fix_missing_locations(ast.Module([*imports, *outside.values(), *body], [])), list(loads)


def _check_order(loads: Mapping[str, list[str]]) -> None:
    """Check that no bundle needs, while it is loaded, one that is being loaded because of it.
    Raises BundleError."""
    left = {head: set(others) for head, others in loads.items()}
    while left:
        ready = {head for head, others in left.items() if not others & left.keys()}
        if not ready:
            raise BundleError(f"{', '.join(sorted(left))} load one another")
        left = {head: others for head, others in left.items() if head not in ready}
