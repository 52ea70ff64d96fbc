#!/bin/sh
# What the image holds beside Node: dist/ of each room, and what that needs at run time. Run where the sources lie, of
# which nothing else is left. `npm run smoke -- image` does what the Dockerfile does, without a container.
set -eu
npm ci
npm run build
npm prune --omit=dev
rm -rf ./*/src protocol/schema protocol/generator
