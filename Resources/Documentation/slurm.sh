#!/bin/bash
# Trains one model on two machines with four GPUs each: sbatch Resources/Documentation/slurm.sh STUDY MODEL
# Submitted again, when the time was too short, it goes on where the training was.
#SBATCH --job-name=brbs
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
set -euo pipefail
# Activate the environment here that brbs is installed in, such as: source ~/brbs/.venv/bin/activate
study=$1 model=$2
resume=
if [[ -f $model/training/last.pt ]]; then resume=--resume; fi
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
srun python -m brbs.torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node 4 --max-restarts 3 \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "$first:29500" \
    -m brbs --hide-names train --study "$study" --output "$model" $resume
