# Builds dist/ and installs what it needs at run time; nothing else reaches the image.
FROM node:26-slim AS build
WORKDIR /build
COPY . .
RUN sh docker/build.sh

FROM node:26-slim
ENV NODE_ENV=production
WORKDIR /millrace
COPY --from=build /build/package.json ./
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/base ./base
COPY --from=build /build/protocol ./protocol
COPY --from=build /build/raft ./raft
COPY --from=build /build/storage ./storage
COPY --from=build /build/broker ./broker
COPY --from=build /build/client ./client
COPY --from=build /build/simulator ./simulator
COPY --from=build /build/cli ./cli

# Any broker setting can be given like these two: MILLRACE_ and the key in capitals, dots as underscores. Clients connect
# to the advertised address, so set it to a name under which they reach this container.
ENV MILLRACE_LISTENERS=PLAINTEXT://0.0.0.0:9092
ENV MILLRACE_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9092

RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 9092
# SIGTERM, which `docker stop` sends, is a clean stop.
ENTRYPOINT ["node", "cli/dist/main.js"]
CMD ["start", "--data", "/data"]
