# syntax=docker/dockerfile:1
# One image for all processes: the command says which (docker-compose.yml). Nothing is built but the Prisma clients.

FROM node:24-bookworm-slim AS workspace
WORKDIR /continuo
RUN npm install --global pnpm@12.21.0
COPY pnpm-lock.yaml pnpm-workspace.yaml ./
RUN pnpm fetch --ignore-scripts
COPY . .
# Everything, to generate with; then again only what runs.
RUN pnpm install --offline --frozen-lockfile --ignore-scripts \
  && node packages/database/src/generate-main.ts \
  && find . -name node_modules -prune -exec rm -rf {} + \
  && pnpm install --offline --frozen-lockfile --ignore-scripts --prod --no-optional \
    --filter "{./services/**}..." --filter @continuo/gateway...

FROM node:24-bookworm-slim
WORKDIR /continuo
ENV NODE_ENV=production
COPY --from=workspace /continuo ./
USER node
