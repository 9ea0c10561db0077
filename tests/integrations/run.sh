#!/usr/bin/env bash
# The losses inside nnU-Net, MONAI and Lightning, in an environment of their own (build/peers).
# A peer that cannot be installed is reported here, and its tests skip.
set -euo pipefail
cd "$(dirname "$0")/../.."
peers=build/peers
install() { "$peers/bin/pip" install --quiet --disable-pip-version-check --no-compile "$@" --constraint constraints.txt; }

if [ "$peers/.ready" -ot constraints.txt ] || [ "$peers/.ready" -ot tests/integrations/run.sh ]; then
    "${PYTHON:-python3}" -m venv --clear "$peers"
    complete=yes
    # torch first: then nothing below pulls another build of it.
    if ! install torch numpy safetensors pytest pyyaml rich simpleitk typer; then
        echo "skipped: torch and pytest could not be installed into $peers (see above)"
        exit 0
    fi
    for peer in "monai pytorch-ignite==0.5.3" "lightning==2.6.6" "nnunetv2==2.8.1"; do
        # shellcheck disable=SC2086 # several packages
        install $peer || { echo "$peer could not be installed (see above): its tests skip"; complete=no; }
    done
    # nnU-Net searches a trainer in all of its modules, and its Primus trainers need a torchvision that fits torch.
    # The CPU builds of both are not on one index: where torchvision does not import, both go.
    if ! "$peers/bin/python" -c "import torchvision" 2> /dev/null; then
        "$peers/bin/pip" --quiet uninstall --yes torchvision
        rm -rf "$peers"/lib/python*/site-packages/nnunetv2/training/nnUNetTrainer/primus
    fi
    [ $complete = yes ] && touch "$peers/.ready"
fi
"$peers/bin/pytest" tests/integrations -rs "$@"
