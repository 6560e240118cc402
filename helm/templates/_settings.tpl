{{/* From values to the settings of the program. */}}

{{/* A value as the environment has it; Helm reads each number of a file as a float. */}}
{{- define "aries-bridge.text" -}}
{{- if kindIs "slice" . -}}
{{- join "," . -}}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else if not (kindIs "invalid" .) -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* Every setting that is neither secret nor a file, as YAML; what is empty is left to the program. */}}
{{- define "aries-bridge.values" -}}
{{- $v := .Values -}}
{{- $shard := $v.standby.enabled | ternary "group" (ternary "0" "auto" (empty (include "aries-bridge.isStatefulSet" .))) -}}
{{- $settings := dict -}}
{{- range list
  (list "ARIES_WS_URL" $v.aries.url)
  (list "ARIES_DIALECT" $v.aries.dialect)
  (list "ARIES_LEVEL2" $v.aries.level2)
  (list "ARIES_SYMBOLS" (ternary (list) $v.aries.symbols $v.subscriptions.hotReload))
  (list "ARIES_EVENTS" $v.aries.events)
  (list "ARIES_SUBSCRIPTIONS" (and (not $v.subscriptions.hotReload) $v.aries.subscriptions (toJson $v.aries.subscriptions) | default ""))
  (list "ARIES_CLIENT_ID" $v.aries.clientId)
  (list "ARIES_API_URL" $v.aries.apiUrl)
  (list "ARIES_TOKEN_URL" $v.aries.tokenUrl)
  (list "ARIES_PING_INTERVAL_SECONDS" $v.aries.pingIntervalSeconds)
  (list "ARIES_PONG_TIMEOUT_SECONDS" $v.aries.pongTimeoutSeconds)
  (list "ARIES_STALE_AFTER_SECONDS" $v.aries.staleAfterSeconds)
  (list "ARIES_STALE_SYMBOL_SECONDS" $v.aries.staleSymbolSeconds)
  (list "ARIES_MAX_FRAMES_PER_SECOND" $v.aries.maxFramesPerSecond)
  (list "ARIES_BACKOFF_MIN_SECONDS" $v.aries.backoff.minSeconds)
  (list "ARIES_BACKOFF_MAX_SECONDS" $v.aries.backoff.maxSeconds)
  (list "KAFKA_BOOTSTRAP_SERVERS" $v.kafka.bootstrapServers)
  (list "KAFKA_SECURITY_PROTOCOL" $v.kafka.security.protocol)
  (list "KAFKA_SASL_MECHANISM" $v.kafka.security.sasl.mechanism)
  (list "KAFKA_SASL_USERNAME" $v.kafka.security.sasl.username)
  (list "AWS_REGION" $v.kafka.security.sasl.awsRegion)
  (list "KAFKA_OAUTH_TOKEN_URL" $v.kafka.security.oauth.tokenUrl)
  (list "KAFKA_OAUTH_CLIENT_ID" $v.kafka.security.oauth.clientId)
  (list "KAFKA_OAUTH_SCOPE" $v.kafka.security.oauth.scope)
  (list "KAFKA_OAUTH_EXTENSIONS" $v.kafka.security.oauth.extensions)
  (list "KAFKA_SSL_CHECK_HOSTNAME" $v.kafka.security.tls.checkHostname)
  (list "KAFKA_TOPIC_PREFIX" $v.kafka.topics.prefix)
  (list "KAFKA_TOPIC_QUOTES" $v.kafka.topics.names.quotes)
  (list "KAFKA_TOPIC_TRADES" $v.kafka.topics.names.trades)
  (list "KAFKA_TOPIC_TIMESALES" $v.kafka.topics.names.timesales)
  (list "KAFKA_TOPIC_L2" $v.kafka.topics.names.l2)
  (list "KAFKA_TOPIC_GREEKS" $v.kafka.topics.names.greeks)
  (list "KAFKA_TOPIC_MARKET_STATUS" $v.kafka.topics.names.marketStatus)
  (list "KAFKA_TOPIC_CONTROL" $v.kafka.topics.names.control)
  (list "KAFKA_TOPIC_DLQ" $v.kafka.topics.names.dlq)
  (list "KAFKA_TOPIC_SHARDS" $v.kafka.topics.names.shards)
  (list "KAFKA_TOPIC_QUOTES_LATEST" $v.kafka.topics.names.quotesLatest)
  (list "KAFKA_TOPIC_TRADES_LATEST" $v.kafka.topics.names.tradesLatest)
  (list "KAFKA_COMPRESSION" $v.kafka.producer.compression)
  (list "KAFKA_LINGER_MS" $v.kafka.producer.lingerMs)
  (list "KAFKA_BATCH_BYTES" $v.kafka.producer.batchBytes)
  (list "KAFKA_DELIVERY_TIMEOUT_SECONDS" $v.kafka.producer.deliveryTimeoutSeconds)
  (list "SCHEMA_REGISTRY_URL" $v.schemaRegistry.url)
  (list "SCHEMA_REGISTRY_CONTEXT" $v.schemaRegistry.context)
  (list "SCHEMA_REGISTRY_USERNAME" $v.schemaRegistry.username)
  (list "SCHEMA_REGISTRY_OAUTH_TOKEN_URL" $v.schemaRegistry.oauth.tokenUrl)
  (list "SCHEMA_REGISTRY_OAUTH_CLIENT_ID" $v.schemaRegistry.oauth.clientId)
  (list "SCHEMA_REGISTRY_OAUTH_SCOPE" $v.schemaRegistry.oauth.scope)
  (list "SCHEMA_REGISTRY_LOGICAL_CLUSTER" $v.schemaRegistry.confluentCloud.logicalCluster)
  (list "SCHEMA_REGISTRY_IDENTITY_POOL_ID" $v.schemaRegistry.confluentCloud.identityPoolId)
  (list "SCHEMA_REGISTRY_AUTO_REGISTER" $v.schemaRegistry.autoRegister)
  (list "BRIDGE_BUFFER_BYTES" $v.bridge.bufferBytes)
  (list "BRIDGE_CONFLATE_MS" $v.bridge.conflateMs)
  (list "BRIDGE_ENCODER" $v.bridge.encoder)
  (list "BRIDGE_LATEST" $v.bridge.latest)
  (list "BRIDGE_LATEST_INTERVAL_MS" $v.bridge.latestIntervalMs)
  (list "BRIDGE_CAPTURE_DIR" $v.bridge.capture.dir)
  (list "BRIDGE_CAPTURE_MODE" (ternary $v.bridge.capture.mode "" (ne $v.bridge.capture.dir "")))
  (list "BRIDGE_CAPTURE_MAX_BYTES" (ternary $v.bridge.capture.maxBytes "" (ne $v.bridge.capture.dir "")))
  (list "BRIDGE_FLIGHT_RECORDER_BYTES" (ternary $v.bridge.capture.flightRecorderBytes "" (ne $v.bridge.capture.dir "")))
  (list "BRIDGE_INSTANCE" $v.bridge.instance)
  (list "BRIDGE_GROUP" (include "aries-bridge.group" .))
  (list "BRIDGE_SHARDS" $v.shards)
  (list "BRIDGE_SHARD" $shard)
  (list "BRIDGE_HTTP_HOST" $v.bridge.http.host)
  (list "BRIDGE_HTTP_PORT" $v.bridge.http.port)
  (list "BRIDGE_DRAIN_SECONDS" $v.bridge.drainSeconds)
  (list "BRIDGE_LOG_LEVEL" $v.log.level)
  (list "BRIDGE_LOG_FORMAT" $v.log.format)
-}}
{{- $text := include "aries-bridge.text" (last .) -}}
{{- if $text -}}
{{- $_ := set $settings (first .) $text -}}
{{- end -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* All that the ConfigMap gives to the program: the values, and the paths of what is mounted. */}}
{{- define "aries-bridge.settings" -}}
{{ include "aries-bridge.values" . }}
{{- range (include "aries-bridge.mounts" (dict "root" .) | fromYaml).mounts }}
{{- $mount := . }}
{{- range .files }}
{{ .setting }}: /etc/aries-bridge/{{ $mount.name }}/{{ .path }}
{{- end }}
{{- end }}
{{- end -}}

{{/* "true" if the list is too long for the annotation into which `kubectl apply` copies an object. */}}
{{- define "aries-bridge.isTooLongToApply" -}}
{{- if .Values.subscriptions.hotReload -}}
{{- /* Quoted once more, in JSON: with escapes. */}}
{{- ternary "true" "" (gt (len (toJson (include "aries-bridge.subscriptions" .))) 260000) -}}
{{- end -}}
{{- end -}}

{{/* The list for `subscriptions.hotReload`. In a file each symbol stands once: an entry replaces the plain symbol, and
     takes over its type. */}}
{{- define "aries-bridge.subscriptions" -}}
[
{{ include "aries-bridge.subscriptionLines" . | trim | trimSuffix "," }}
]
{{- end -}}

{{/* Written line by line: a list that grows is copied with each symbol, and there may be tens of thousands. */}}
{{- define "aries-bridge.subscriptionLines" -}}
{{- $types := dict -}}
{{- range .Values.aries.symbols -}}
{{- $parts := splitList ":" (toString .) -}}
{{- $_ := set $types (first $parts) (rest $parts | first | default "") -}}
{{- end -}}
{{- $described := dict -}}
{{- range .Values.aries.subscriptions -}}
{{- $entry := kindIs "map" . | ternary . (dict "symbol" .) -}}
{{- if not (hasKey $entry "underlying") -}}
{{- $_ := set $described (toString $entry.symbol | splitList ":" | first) true -}}
{{- end -}}
{{- end -}}
{{- range .Values.aries.symbols -}}
{{- if not (hasKey $described (splitList ":" (toString .) | first)) }}
{{ toJson . }},
{{- end -}}
{{- end -}}
{{- range .Values.aries.subscriptions -}}
{{- $type := "" -}}
{{- if and (kindIs "map" .) (not (hasKey (kindIs "map" . | ternary . dict) "underlying")) -}}
{{- $type = .type | default (get $types (toString .symbol)) -}}
{{- end }}
{{ if $type }}{{ toJson (merge (dict "type" $type) .) }}{{ else }}{{ toJson . }}{{ end }},
{{- end -}}
{{- end -}}
